"""Text, dates and ages out of a header, made the same for every database, log and page."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date
from typing import Final

_AGE: Final = re.compile(r"([0-9]{3})([DWMY])")
_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})|([0-9]{4})\.([0-9]{2})\.([0-9]{2})")
# Control characters (SQLite keeps a NUL, PostgreSQL refuses it) and lone surrogates, which no database encodes.
_UNSTORABLE: Final = frozenset({"Cc", "Cs"})
_DAYS: Final = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_OLDEST_DAYS: Final = 150 * 366


def clean(text: str, length: int) -> str | None:
    """Remove control characters, surrounding blanks and what exceeds the column; None if nothing is left.

    Parameters
    ----------
    text : str
        As decoded.
    length : int
        Characters the ledger's column holds.
    """
    kept = "".join(character for character in text if unicodedata.category(character) not in _UNSTORABLE)
    return kept.strip()[:length].rstrip() or None


def parse_date(text: str) -> date | None:
    """Read a DA value, ``YYYYMMDD`` or the older ``YYYY.MM.DD`` (PS3.5 section 6.2); None if it is neither."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        return date(year, month, day)
    except ValueError:
        return None


def parse_age(text: str) -> int | None:
    """Read an AS value such as ``004Y`` or ``018M`` as whole days (PS3.5 section 6.2).

    Rounded up: six completed years are 2191.5 days or more, never less, so
    that whoever is six falls outside "under six".
    """
    match = _AGE.fullmatch(text.strip().upper())
    return None if match is None else math.ceil(int(match[1]) * _DAYS[match[2]])


def age_between(birth: date, then: date) -> int | None:
    """Return days of life, None if the dates cannot both be right."""
    days = (then - birth).days
    return days if 0 <= days <= _OLDEST_DAYS else None
