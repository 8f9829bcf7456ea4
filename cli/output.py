"""What commands print: tables for people, JSON and CSV for machines, all safe to show.

Much of it was received from elsewhere (accession numbers, patient IDs, AE
titles). A terminal must not obey it, Rich must not read markup in it, and a
spreadsheet must not run it as a formula.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bundle.manifest import Interval

# Cc: ESC and its kin; Cf: bidirectional overrides and invisible joiners; the rest has no glyph of its own
_UNSHOWABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# wide enough that no UID or entry name is folded where a program reads
_PIPE_WIDTH: Final = 400
# finer than two digits a probability is not known, and never as 0 or 1
_SMALLEST_SHOWN: Final = 0.01
# OWASP, "CSV Injection"
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class _Piped(Console):
    """A console without the blanks that Rich fills tables up with: where no terminal is, they only make lines long."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write("\n".join(line.rstrip(" ") for line in captured.get().split("\n")))


def console(piped_width: int = _PIPE_WIDTH) -> Console:
    """Return the console for results: standard output, colours and folding to its width only on a terminal."""
    if sys.stdout.isatty():
        return Console(highlight=False, emoji=False, markup=False)
    return _Piped(width=piped_width, highlight=False, emoji=False, markup=False)


def notes() -> Console:
    """Return the console for what is said beside the results: standard error."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def printable(text: str) -> str:
    r"""Make every character without a glyph visible as an escape: ESC becomes ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNSHOWABLE
        else character
        for character in text
    )


def shown(value: object) -> str:
    """Return a value as a person reads it in a table cell."""
    match value:
        case None:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.3f}"
        case Enum():
            text = str(value.value)
        case datetime():
            text = value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        case list() | tuple():
            text = ", ".join(shown(part) for part in value) or "-"
        case _:
            text = printable(str(value))
    return text


def likelihood(probability: float | None) -> str:
    """Return a probability in two digits that never claims certainty; empty where there is none."""
    if probability is None:
        return ""
    if probability < _SMALLEST_SHOWN:
        return f"<{_SMALLEST_SHOWN}"
    return f">{1 - _SMALLEST_SHOWN}" if probability > 1 - _SMALLEST_SHOWN else f"{probability:.2f}"


def interval(found: Interval | None) -> str:
    """Return a figure with its 95 % interval, a dash where it is undefined."""
    if found is None or found.value is None:
        return "-"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Build a table; cells are text, never markup."""
    built = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        built.add_column(column, overflow="fold")
    for row in rows:
        built.add_row(*(cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row))
    return built


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Build a table of names and values."""
    built = Table(show_header=False, box=None, pad_edge=False)
    built.add_column(style="bold")
    built.add_column(overflow="fold")
    for name, value in rows:
        built.add_row(Text(name), Text(shown(value)))
    return built


def say(out: Console, text: str, style: str | None = None) -> None:
    """Print a sentence as one line: a terminal wraps it, a log collector wants it whole."""
    out.print(Text(text, style=style or ""), soft_wrap=True)


def plain(value: object) -> Any:
    """Turn dataclasses, times, words and paths into what JSON knows."""
    data: Any = value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case Enum():
            data = value.value
        case datetime():
            data = value.astimezone(UTC).isoformat()
        case date():
            data = value.isoformat()
        case Path():
            data = str(value)
        case Mapping():
            data = {str(plain(key)): plain(part) for key, part in value.items()}
        case set() | frozenset():
            data = sorted(plain(part) for part in value)
        case list() | tuple():
            data = [plain(part) for part in value]
    return data


def print_json(value: object, stream: TextIO | None = None) -> None:
    """Print one JSON document; pure ASCII, so that neither a locale nor a terminal can spoil it.

    Raises
    ------
    ValueError
        If a number is not finite: JSON has no word for it, and NaN must never look like a result.
    """
    stream = stream or sys.stdout
    json.dump(plain(value), stream, indent=2, allow_nan=False)
    stream.write("\n")


def guarded(value: object) -> object:
    """Return a CSV field that no spreadsheet takes for a formula; numbers stay numbers."""
    value = plain(value)
    if isinstance(value, list):
        value = " ".join(str(part) for part in value)
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) or value.startswith(_FORMULA_STARTS) else text


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]], stream: TextIO | None = None) -> None:
    """Print rows as RFC 4180 CSV with a header line."""
    writer = csv.writer(stream or sys.stdout)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(value) for value in row])
