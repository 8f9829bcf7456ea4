"""Why somebody asks for something that is kept, as the ledger takes it."""

from __future__ import annotations

import unicodedata
from typing import Final

from core.errors import Misconfigured

_LONGEST: Final = 500


def reason_text(text: str, longest: int = _LONGEST) -> str:
    """Return a reason on one line.

    Raises
    ------
    Misconfigured
        If it is empty, too long or not printable.
    """
    reason = " ".join(unicodedata.normalize("NFC", text).split())
    if not reason or len(reason) > longest or not reason.isprintable():
        raise Misconfigured(f"--reason is no printable text of 1 to {longest} characters")
    return reason
