from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from rich.console import Console

from cli.output import console, guarded, likelihood, plain, print_csv, print_json, printable, shown, table
from db.vocabulary import Outcome


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("ACC-123", "ACC-123"),
        ("Müller^Jürgen", "Müller^Jürgen"),
        ("山田^太郎", "山田^太郎"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("title\x1b]0;owned\x07", "title\\x1b]0;owned\\x07"),
        ("csi\x9b31m", "csi\\x9b31m"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("rtl\u202eoverride", "rtl\\u202eoverride"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\u2028separator", "line\\u2028separator"),
        ("nul\x00", "nul\\x00"),
        ("del\x7f", "del\\x7f"),
    ],
)
def test_nothing_without_a_glyph_reaches_the_terminal(received: str, expected: str) -> None:
    assert printable(received) == expected


def test_cells_are_text_and_not_markup() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80, markup=True).print(table(["id"], [["[red]x[/red] [link=http://evil]"]]))
    assert "[red]x[/red] [link=http://evil]" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (True, "yes"),
        (0.5, "0.500"),
        (Outcome.SUSPECTED, "SUSPECTED"),
        (["a", "b"], "a, b"),
        ([], "-"),
        (date(2026, 1, 2), "2026-01-02"),
        (7, "7"),
    ],
)
def test_values_as_a_person_reads_them(value: object, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (None, ""),
        (0.0, "<0.01"),
        (0.0099, "<0.01"),
        (0.014, "0.01"),
        (0.5, "0.50"),
        (0.99, "0.99"),
        (0.9901, ">0.99"),
        (1.0, ">0.99"),
    ],
)
def test_no_probability_is_shown_as_certain(probability: float | None, expected: str) -> None:
    assert likelihood(probability) == expected


def test_a_pipe_gets_no_blanks_at_the_end_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = console()
    out.print(table(["name", "text"], [["a", "x" * 300], ["b", "short"]], "title"))
    out.print("and a sentence", style="bold")
    out.print("no end ", end="")
    lines = capsys.readouterr().out.split("\n")
    assert lines == ["title", "name  text", f"a     {'x' * 300}", "b     short", "and a sentence", "no end"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_field_starts_a_formula(start: str) -> None:
    text = guarded(f"{start}HYPERLINK()")
    assert isinstance(text, str)
    assert text.startswith("'")


def test_numbers_stay_numbers_in_csv() -> None:
    stream = io.StringIO()
    print_csv(["name", "offset"], [["=1+1", -0.5], ["a,b", None]], stream)
    rows = list(csv.reader(io.StringIO(stream.getvalue())))
    assert rows == [["name", "offset"], ["'=1+1", "-0.5"], ["a,b", ""]]


@dataclass(frozen=True)
class Row:
    outcome: Outcome
    at: datetime
    where: Path
    parts: tuple[int, ...]
    words: frozenset[str]


def test_dataclasses_become_json() -> None:
    row = Row(Outcome.NO_RESULT, datetime(2026, 1, 2, 3, 4, tzinfo=UTC), Path("x"), (1, 2), frozenset({"b", "a"}))
    stream = io.StringIO()
    print_json([row], stream)
    assert json.loads(stream.getvalue()) == [
        {
            "outcome": "NO_RESULT",
            "at": "2026-01-02T03:04:00+00:00",
            "where": "x",
            "parts": [1, 2],
            "words": ["a", "b"],
        }
    ]


def test_json_is_ascii_whatever_was_received() -> None:
    stream = io.StringIO()
    print_json({"name": "ü\x9b\u202e"}, stream)
    assert stream.getvalue().isascii()
    assert json.loads(stream.getvalue()) == {"name": "ü\x9b\u202e"}


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_json({"probability": float("nan")}, io.StringIO())


def test_plain_leaves_what_json_knows() -> None:
    assert plain({"a": 1, "b": [True, None, 0.5]}) == {"a": 1, "b": [True, None, 0.5]}
