"""What we take for a DICOM unique identifier, at the door and behind it."""

from __future__ import annotations

import re
from typing import Final

LONGEST_UID: Final = 64
# two components at least: a lone number is some device's default, and would make one study of many patients'
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)+")


def is_uid(text: str) -> bool:
    """Return whether a text may serve as a UID.

    PS3.5 section 9.1 (at least two components of digits, at most 64
    characters), less its ban on leading zeros: many devices break it, which
    harms nobody, for nothing here reads a component as a number. One rule for
    the whole product, so that what is acknowledged is not refused later.
    """
    return len(text) <= LONGEST_UID and _UID.fullmatch(text) is not None
