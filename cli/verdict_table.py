"""Reading a CSV of verdicts (columns: docs/labels.md). Each line is checked by itself before the ledger is asked."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final

from core.errors import Misconfigured
from db.verdict_import import Line, Misfit, Problem
from db.verdict_text import FORMULA_STARTS, BadVerdict, comment_text, reader_name, reading_time
from db.vocabulary import VerdictKind

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_LINES: Final = 100_000
_NEEDED: Final = frozenset({"read_at", "verdict"})
_STUDY: Final = frozenset({"study_uid", "accession_number"})
_COLUMNS: Final = _NEEDED | _STUDY | {"reader", "model_visible", "comment", "revision"}
_DELIMITERS: Final = (",", ";", "\t")
_YES_OR_NO: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_LONGEST_IDENTIFIER: Final = 64
_MOST_REVISIONS: Final = 1_000_000
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", re.ASCII)
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class TableRefused(Misconfigured):
    """The file cannot be read as a table of verdicts; the message names the line and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for lines that do not say it themselves.

    Attributes
    ----------
    zone : tzinfo or None
        Of times without one; None is this machine's.
    """

    reader: str | None
    model_visible: bool | None
    zone: tzinfo | None


@dataclass(frozen=True, slots=True)
class Table:
    """A file of verdicts.

    Attributes
    ----------
    sha256 : str
        Of the file.
    lines : tuple of Line
        Those that are sound in themselves.
    ignored : tuple of str
        Columns that are none of ours.
    """

    sha256: str
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[str, ...]


def read_table(path: Path, defaults: Defaults, now: datetime) -> Table:
    """Read a file of verdicts.

    Parameters
    ----------
    now : datetime
        By the database's clock: nobody has read anything later.

    Raises
    ------
    TableRefused
        If it is too large, not UTF-8, no CSV, or lacks a column.
    """
    content = _bytes(path)
    rows = _rows(_text(content))
    _, columns = next(rows, (1, []))
    header = [column.strip().lower() for column in columns]
    _check(header, defaults)
    lines: list[Line] = []
    problems: list[Problem] = []
    for number, fields in rows:
        if not any(field.strip() for field in fields):
            continue
        if len(lines) + len(problems) >= MOST_LINES:
            raise TableRefused(f"line {number}: more than {MOST_LINES} verdicts; split the file")
        if len(fields) != len(header):
            detail = f"has {len(fields)} fields where the header has {len(header)}"
            problems.append(Problem(number, Misfit.BAD_LINE, detail))
            continue
        found = _line(number, dict(zip(header, fields, strict=True)), defaults, now)
        if isinstance(found, Line):
            lines.append(found)
        else:
            problems.append(found)
    if not lines and not problems:
        raise TableRefused("there is no line below the header")
    ignored = tuple(column for column in header if column not in _COLUMNS)
    return Table(hashlib.sha256(content).hexdigest(), tuple(lines), tuple(problems), ignored)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise TableRefused(f"the file has more than {MOST_BYTES // 1024**2} MiB; split it")
    return content


def _text(content: bytes) -> str:
    if content.startswith(_UTF16):
        raise TableRefused("line 1: the file is UTF-16; save it as CSV UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TableRefused(f"line {line}: is not UTF-8; save the file as CSV UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableRefused(f"line {line}: holds a NUL byte; this is no CSV file")
    return text


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give each record with the line it begins in."""
    first = text.partition("\n")[0]
    # spreadsheets write semicolons where the comma is the decimal sign
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        begins = rows.line_num + 1
        try:
            fields = next(rows, None)
        except csv.Error as error:
            raise TableRefused(f"line {begins}: is no CSV ({error})") from None
        if fields is None:
            return
        yield begins, fields


def _check(header: list[str], defaults: Defaults) -> None:
    for number, column in enumerate(header):
        if column in _COLUMNS and column in header[:number]:
            raise TableRefused(f"line 1: the column {column} stands there twice")
    missing = sorted(_NEEDED - set(header))
    if not _STUDY & set(header):
        missing.append("study_uid or accession_number")
    if "reader" not in header and defaults.reader is None:
        missing.append("reader (or give --reader)")
    if "model_visible" not in header and defaults.model_visible is None:
        missing.append("model_visible (or give --blind or --model-visible)")
    if missing:
        raise TableRefused(f"line 1: there is no column {', '.join(missing)}")


def _line(number: int, values: dict[str, str], defaults: Defaults, now: datetime) -> Line | Problem:
    try:
        with _wrong_as(Misfit.BAD_VALUE):
            study_uid, accession_number = _identifiers(values)
        with _wrong_as(Misfit.BAD_READER):
            reader = reader_name(values.get("reader", "").strip() or defaults.reader or "")
        with _wrong_as(Misfit.BAD_TIME):
            read_at = reading_time(moment(values["read_at"].strip(), defaults.zone), now)
        with _wrong_as(Misfit.BAD_VERDICT):
            verdict = _verdict(values["verdict"])
        with _wrong_as(Misfit.BAD_COMMENT):
            comment = comment_text(values.get("comment"))
        with _wrong_as(Misfit.BAD_VALUE):
            visible = _model_visible(values.get("model_visible", ""), defaults)
            revision = _revision(values.get("revision", ""))
    except _WrongField as wrong:
        return Problem(number, wrong.kind, wrong.detail)
    return Line(number, study_uid, accession_number, reader, read_at, verdict, visible, comment, revision)


class _WrongField(Exception):
    def __init__(self, kind: Misfit, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@contextmanager
def _wrong_as(kind: Misfit) -> Iterator[None]:
    try:
        yield
    except BadVerdict as error:
        raise _WrongField(kind, str(error)) from None


def _identifiers(values: dict[str, str]) -> tuple[str, str]:
    study_uid, accession_number = (values.get(column, "").strip() for column in ("study_uid", "accession_number"))
    if not study_uid and not accession_number:
        raise BadVerdict("names no study: study_uid and accession_number are empty")
    for column, value in (("study_uid", study_uid), ("accession_number", accession_number)):
        if value.startswith(FORMULA_STARTS):
            raise BadVerdict(f"{column} begins as a spreadsheet's formula does")
        if len(value) > _LONGEST_IDENTIFIER or not (value.isprintable() or not value):
            raise BadVerdict(f"{column} is no printable text of at most {_LONGEST_IDENTIFIER} characters")
    return study_uid, accession_number


def _verdict(text: str) -> VerdictKind:
    try:
        return VerdictKind("_".join(text.upper().split()))
    except ValueError:
        raise BadVerdict(f"the verdict is none of {', '.join(VerdictKind)}") from None


def _model_visible(text: str, defaults: Defaults) -> bool:
    word = text.strip().lower()
    visible = defaults.model_visible if not word else _YES_OR_NO.get(word)
    if visible is None:
        raise BadVerdict("model_visible is neither yes nor no")
    return visible


def _revision(text: str) -> int | None:
    word = text.strip()
    if not word:
        return None
    if not (word.isascii() and word.isdecimal() and 0 < int(word[:9]) < _MOST_REVISIONS):
        raise BadVerdict("the revision is no number from 1")
    return int(word)


def moment(text: str, zone: tzinfo | None) -> datetime:
    """Read a date with a time of day.

    Parameters
    ----------
    text : str
        ISO 8601, such as ``2026-11-01T08:00`` or ``2026-11-01 08:00:30+01:00``.
    zone : tzinfo or None
        Where it names none; None is this machine's.

    Raises
    ------
    BadVerdict
        If it is no such time, or one that the clocks of the zone show twice or never.
    """
    if not _TIME.match(text):
        raise BadVerdict("the time is not a date with a time of day, such as 2026-11-01T08:00")
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return when.astimezone(UTC)
        early, late = (when.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    except (ValueError, OverflowError, OSError):
        raise BadVerdict("there is no such time; write it such as 2026-11-01T08:00 or 2026-11-01T08:00+01:00") from None
    if early != late:
        raise BadVerdict("the clocks show this time twice or never that day; write its offset, such as +01:00")
    return early
