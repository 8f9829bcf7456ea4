"""Reader names and comments as the ledger keeps them: one spelling a reader, nothing that a spreadsheet would run."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Final

from core.errors import Misconfigured

LONGEST_READER: Final = 64
LONGEST_COMMENT: Final = 500
# OWASP, "CSV Injection": what a spreadsheet takes for a formula when somebody opens an export
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
# clocks of other systems run a little ahead; further in the future nobody has read anything
# how far clocks may differ
AHEAD: Final = timedelta(minutes=5)
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BadVerdict(Misconfigured):
    """A verdict cannot be entered as it was given; the message says what to change, and quotes nothing of it."""


def reader_name(text: str) -> str:
    """Return a reader's name in its one spelling: lower case, single blanks.

    Raises
    ------
    BadVerdict
        If it is empty, too long, not printable or does not begin with a letter or digit.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split()).lower()
    if not name:
        raise BadVerdict("the reader is missing")
    if len(name) > LONGEST_READER or not name.isprintable():
        raise BadVerdict(f"the reader is no printable name of at most {LONGEST_READER} characters")
    if not name[0].isalnum():
        raise BadVerdict("the reader's name does not begin with a letter or a digit")
    return name


def comment_text(text: str | None) -> str | None:
    """Return a comment on one line, None where there is none.

    Raises
    ------
    BadVerdict
        If it is too long, not printable, or begins as a formula does.
    """
    if text is None or not text.strip():
        return None
    comment = " ".join(unicodedata.normalize("NFC", text).split())
    if text.startswith(FORMULA_STARTS) or comment.startswith(FORMULA_STARTS):
        raise BadVerdict(
            "the comment begins with one of = + - @ or a tab, which a spreadsheet would run as a formula; "
            "put a word before it"
        )
    if len(comment) > LONGEST_COMMENT or not comment.isprintable():
        raise BadVerdict(f"the comment is no printable text of at most {LONGEST_COMMENT} characters")
    return comment


def reading_time(when: datetime, now: datetime) -> datetime:
    """Return when a study was read, if that can be.

    Parameters
    ----------
    when, now : datetime
        Aware; now by the database's clock.

    Raises
    ------
    BadVerdict
        If it lies in the future or before 1970.
    """
    if when > now + AHEAD:
        raise BadVerdict("the time lies in the future")
    if when < _EARLIEST:
        raise BadVerdict("the time lies before 1970")
    return when
