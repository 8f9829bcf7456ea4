"""What can be wrong with a data set or a fit, for a person to put right."""

from __future__ import annotations

from core.errors import Misconfigured


class DatasetError(Misconfigured):
    """A data set cannot be used as it is; the message names the file or folder."""


class FitFailed(Misconfigured):
    """Training cannot go on or its result cannot be used; nothing half-written is left as a bundle."""
