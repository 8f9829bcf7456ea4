from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import typer
from sqlalchemy.orm import Session, sessionmaker

from cli.results import mark_of, moment, row_of
from db.vocabulary import FlagKind, Outcome
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    PredictionFactory,
    ReceiptFactory,
    StudyFactory,
    ago,
    rows_in,
)
from tests.unit.cli.conftest import Lungwatch

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def classified(accession: str, outcome: Outcome, seconds_ago: float, probability: float = 0.9) -> None:
    study = StudyFactory(
        accession_number=accession, first_received_at=ago(seconds_ago), last_received_at=ago(seconds_ago)
    )
    image = ImageFactory(study=study, outcome=outcome)
    PredictionFactory(image=image, outcome=outcome, probability=probability)
    if outcome is Outcome.SUSPECTED:
        FlagFactory(study=study, kind=FlagKind.SUSPECTED)


def test_studies_newest_first_as_json(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        classified("OLD", Outcome.NOT_SUSPECTED, 7200)
        classified("NEW", Outcome.SUSPECTED, 60)
    said = lungwatch("results", "--json")
    assert said.code == 0
    rows = json.loads(said.out)
    assert [row["accession_number"] for row in rows] == ["NEW", "OLD"]
    assert rows[0]["outcome"] == "SUSPECTED"
    assert rows[0]["flags"] == ["SUSPECTED"]
    assert rows[0]["probability"] == 0.9
    recent = json.loads(lungwatch("results", "--since", "1h", "--json").out)
    assert [row["accession_number"] for row in recent] == ["NEW"]


def test_flagged_holds_what_waits_and_the_unreadable(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        classified("NEGATIVE", Outcome.NOT_SUSPECTED, 60)
        classified("POSITIVE", Outcome.SUSPECTED, 60)
        ReceiptFactory(quarantined=True)
    rows = json.loads(lungwatch("results", "--flagged", "--json").out)
    assert [row["outcome"] for row in rows] == ["SUSPECTED", "NO_RESULT"]
    said = lungwatch("results", "--flagged")
    assert f"(receipt {rows[1]['receipt_id']})" in said.out
    assert "TRUNCATED" in said.out


@pytest.mark.parametrize("flags", [(), ("--flagged",)])
def test_pages_neither_skip_nor_repeat(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], flags: tuple[str, ...]
) -> None:
    with sessions.begin() as session, rows_in(session):
        for number in range(5):
            classified(f"S{number}", Outcome.SUSPECTED, 60 + number // 2)
    everything = [row["accession_number"] for row in json.loads(lungwatch("results", *flags, "--json").out)]
    seen: list[str] = []
    after: tuple[str, ...] = ()
    for _ in range(3):
        said = lungwatch("results", *flags, "--json", "--limit", "2", *after)
        seen += [row["accession_number"] for row in json.loads(said.out)]
        if "--after" not in said.err:
            break
        after = ("--after", said.err.split("'")[1])
    assert seen == everything
    assert len(seen) == 5


def test_csv_is_guarded_and_the_terminal_obeys_nothing(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        classified('=cmd|"/c calc"!A1', Outcome.SUSPECTED, 60)
        classified("\x1b]0;owned\x07[red]", Outcome.SUSPECTED, 61)
    rows = list(csv.DictReader(io.StringIO(lungwatch("results", "--csv").out)))
    assert [row["accession_number"] for row in rows] == ['\'=cmd|"/c calc"!A1', "\\x1b]0;owned\\x07[red]"]
    said = lungwatch("results")
    assert "\x1b" not in said.out
    assert "\\x1b]0;owned\\x07[red]" in said.out


def test_nothing_yet(lungwatch: Lungwatch) -> None:
    assert lungwatch("results").err.strip() == "No studies."
    assert lungwatch("results", "--flagged").err.strip() == "Nothing waits for a reader."
    assert json.loads(lungwatch("results", "--json").out) == []


@pytest.mark.parametrize(
    "arguments",
    [("--json", "--csv"), ("--since", "yesterday"), ("--after", "nonsense"), ("--limit", "-1"), ("--after", "1/2/3")],
)
def test_wrong_options_are_usage_errors(lungwatch: Lungwatch, arguments: tuple[str, ...]) -> None:
    said = lungwatch("results", *arguments)
    assert said.code == 2
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(days=1)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01T08:00+01:00", datetime(2026, 11, 1, 7, 0, tzinfo=UTC)),
    ],
)
def test_times_as_people_write_them(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


def test_a_date_without_a_zone_is_this_machines() -> None:
    assert moment("2026-11-01", NOW) == datetime(2026, 11, 1).astimezone()


@pytest.mark.parametrize("mark", ["", "x/y", "2026-01-01T00:00:00/5", "2026-01-01T00:00:00+00:00/5/1/2"])
def test_a_mark_that_no_page_ended_with_is_refused(mark: str) -> None:
    with pytest.raises(typer.BadParameter):
        row_of(mark, flagged=False)


def test_marks_come_back() -> None:
    row = row_of("2026-01-01T00:00:00+00:00/5/10/0", flagged=True)
    assert (row.study_id, row.priority, row.receipt_id) == (5, 10, None)
    assert mark_of(row, flagged=True) == "2026-01-01T00:00:00+00:00/5/10/0"
