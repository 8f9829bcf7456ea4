from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from db.verdict_text import BadVerdict, comment_text, reader_name, reading_time

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["Müller  Hans", " mu\u0308ller hans\n", "MÜLLER HANS"])
def test_a_reader_has_one_spelling(text: str) -> None:
    assert reader_name(text) == "müller hans"


@pytest.mark.parametrize("text", ["", " ", "=cmd", "-a", "@a", "^a", "a\x1bb", "a" * 65, "a\u202eb"])
def test_what_names_no_reader_is_refused(text: str) -> None:
    with pytest.raises(BadVerdict) as caught:
        reader_name(text)
    assert "cmd" not in str(caught.value)


def test_a_comment_is_one_line_or_none() -> None:
    assert comment_text(" left base,\r\n  small ") == "left base, small"
    assert comment_text(" \n") is None
    assert comment_text(None) is None


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=x", "\r=x", "  =x", "a\x00b", "a" * 501])
def test_what_a_spreadsheet_would_run_is_refused(text: str) -> None:
    with pytest.raises(BadVerdict):
        comment_text(text)


def test_nobody_reads_in_the_future_or_before_computers() -> None:
    soon = NOW + timedelta(minutes=4)
    assert reading_time(soon, NOW) == soon
    for when in (NOW + timedelta(minutes=6), datetime(1969, 12, 31, tzinfo=UTC)):
        with pytest.raises(BadVerdict):
            reading_time(when, NOW)
