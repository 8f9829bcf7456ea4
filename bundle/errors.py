"""Why a bundle is not taken into service."""

from __future__ import annotations

from core.errors import Misconfigured


class BundleRefused(Misconfigured):
    """A bundle is missing, incomplete, unsigned, altered, or does not compute what it should.

    Whoever serves a model keeps the previous one. The message names the
    bundle's directory and what to do.
    """
