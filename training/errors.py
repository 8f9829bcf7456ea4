"""What can be wrong with a data set or a fit, for a person to put right."""

from __future__ import annotations

from core.errors import Misconfigured


class DatasetError(Misconfigured):
    """A data set cannot be used as it is; the message names the file or folder."""


class FitFailed(Misconfigured):
    """Training cannot go on or its result cannot be used; nothing half-written is left as a bundle."""


class NoRoom(FitFailed):
    """The disk has no room for what is kept of the images; the message names the folder."""


def no_finite_loss(when: str) -> FitFailed:
    """Return the error of a fit whose loss became NaN or infinite.

    Parameters
    ----------
    when : str
        Such as "after epoch 3".
    """
    return FitFailed(
        f"the loss is no finite number {when}. The epochs before are kept, and the same command goes on after them; "
        "if that repeats it, look at the pictures with lungwatch data explore, or begin anew in another folder "
        "(--out), lungwatch train also with another --seed"
    )
