"""The name a peer gives itself: unauthenticated text, made harmless before it is written anywhere."""

from __future__ import annotations

from typing import Final

LONGEST_AE_TITLE: Final = 16  # PS3.5 6.2, AE


def printable_ae_title(received: str | None) -> str | None:
    """Make a received AE title fit for logs, file meta and ledger.

    Parameters
    ----------
    received : str or None
        As the peer sent it: may hold line breaks, terminal escapes, anything.

    Returns
    -------
    str or None
        At most 16 printable ASCII characters without backslash, each other
        character replaced by ``?``; None where nothing is left.
    """
    if received is None:
        return None
    safe = (
        character if character.isascii() and character.isprintable() and character != "\\" else "?"
        for character in received.strip(" \0")[:LONGEST_AE_TITLE]
    )
    return "".join(safe).strip() or None


def checked_ae_title(written: str) -> str:
    """Return an AE title that a person configured, without the spaces around it, which mean nothing.

    Raises
    ------
    ValueError
        If it is none by PS3.5 6.2 (AE): empty, longer than 16, not printable
        ASCII, or with a backslash.
    """
    title = written.strip(" ")
    if not title or len(title) > LONGEST_AE_TITLE or printable_ae_title(title) != title:
        message = "is no AE title: 1 to 16 printable ASCII characters without backslash"
        raise ValueError(message)
    return title
