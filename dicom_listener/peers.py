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
