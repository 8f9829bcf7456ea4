from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.text import age_between, clean, parse_age, parse_date


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A\0B", "AB"),
        ("A\r\nB\x1b\x85", "AB"),
        ("\ud800A", "A"),
        ("  A B  ", "A B"),
        ("\0 \t", None),
        ("", None),
        ("ABCDEFGHIJ", "ABCDEFGH"),
        ("ABCDEFG HIJ", "ABCDEFG"),
        ("<script>", "<script>"),
        ("';DROP", "';DROP"),
        ("שלום", "שלום"),
    ],
)
def test_text_is_cleaned_and_cut(text: str, cleaned: str | None) -> None:
    assert clean(text, 8) == cleaned


@given(st.text())
def test_cleaned_text_can_be_stored_anywhere(text: str) -> None:
    cleaned = clean(text, 64)
    if cleaned is not None:
        assert 0 < len(cleaned) <= 64
        assert b"\0" not in cleaned.encode()
        assert cleaned.isprintable() or all(not character.isspace() or character != "\n" for character in cleaned)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20240229", date(2024, 2, 29)),
        ("2024.02.29", date(2024, 2, 29)),
        ("20230229", None),
        ("2024", None),
        ("20241301", None),
        ("", None),
        ("20240101-20240201", None),
    ],
)
def test_dates(text: str, value: date | None) -> None:
    assert parse_date(text) == value


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("001Y", 366),
        ("005Y", 1827),
        ("006Y", 2192),
        ("012M", 366),
        ("011M", 335),
        ("003W", 21),
        ("010D", 10),
        ("5Y", None),
        ("", None),
    ],
)
def test_ages(text: str, days: int | None) -> None:
    assert parse_age(text) == days


def test_an_age_needs_dates_that_can_both_be_right() -> None:
    assert age_between(date(2020, 1, 1), date(2024, 1, 1)) == 1461
    assert age_between(date(2024, 1, 2), date(2024, 1, 1)) is None
    assert age_between(date(1700, 1, 1), date(2024, 1, 1)) is None
