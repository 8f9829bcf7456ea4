"""What the command says of nights; a night itself is run in tests/integration/test_nightly.py."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db import nightly_runs as runs
from db.vocabulary import NightKind, NightState, NightStep
from tests.factories.rows import ModelVersionFactory, rows_in
from tests.unit.cli.conftest import Lungwatch

NIGHT = date(2026, 11, 22)


@pytest.fixture
def night(sessions: sessionmaker[Session], ledger_settings: Settings) -> Path:
    """A night that was kept, with its report; and one of the day after that is under way."""
    folder = ledger_settings.data_dir / "nights" / NIGHT.isoformat()
    folder.mkdir(parents=True)
    (folder / "report.txt").write_text("Lungwatch, night of 2026-11-22: KEPT\n")
    (folder / "report.json").write_text('{"state": "KEPT"}')
    with sessions.begin() as session, rows_in(session):
        model = ModelVersionFactory(name="nightly", version="2026-11-22").id
        held = runs.claim(session, NIGHT, 60)
        assert held
        runs.note(
            session,
            held,
            kind=NightKind.FINE_TUNE,
            challenger_id=model,
            champion_id=model,
            decision={"verdict": "KEEP"},
            drift={"level": "NONE"},
            report=f"nights/{NIGHT}",
            seconds={"TRAIN": 600.0},
            step=NightStep.REPORT,
        )
        runs.finish(session, held, NightState.KEPT, "not better")
        later = runs.claim(session, date(2026, 11, 23), 60)
        assert later
        runs.note(session, later, step=NightStep.TRAIN, progress="fit, 7 of 90")
    return folder


def test_before_the_first_night_each_says_so(lungwatch: Lungwatch) -> None:
    assert "No night has run yet" in lungwatch("nightly", "status").err
    assert json.loads(lungwatch("nightly", "status", "--json").out) is None
    assert json.loads(lungwatch("nightly", "list", "--json").out) == []
    said = lungwatch("nightly", "show")
    assert (said.code, "there is no report of any night" in said.err) == (2, True)


@pytest.mark.usefixtures("night")
def test_the_one_under_way_is_watched(lungwatch: Lungwatch) -> None:
    said = lungwatch("nightly", "status").out
    assert "TRAIN: fit, 7 of 90" in said
    found = json.loads(lungwatch("nightly", "status", "--json").out)
    assert (found["night"], found["state"], found["progress"]) == ("2026-11-23", "RUNNING", "fit, 7 of 90")


def test_nights_are_listed_with_their_pages(lungwatch: Lungwatch, night: Path) -> None:
    newest, kept = json.loads(lungwatch("nightly", "list", "--json").out)
    assert newest["state"] == "RUNNING"
    assert (kept["state"], kept["challenger"], kept["verdict"], kept["drift"]) == (
        "KEPT",
        "nightly 2026-11-22",
        "KEEP",
        "NONE",
    )
    assert kept["report"] == f"nights/{NIGHT}"
    assert json.loads(lungwatch("nightly", "list", "--limit", "1", "--json").out) == [newest]
    assert str(night.name) in lungwatch("nightly", "list").out


@pytest.mark.usefixtures("night")
def test_a_report_is_shown_by_its_date(lungwatch: Lungwatch) -> None:
    assert lungwatch("nightly", "show", "2026-11-22").out == "Lungwatch, night of 2026-11-22: KEPT\n"
    assert json.loads(lungwatch("nightly", "show", "2026-11-22", "--json").out) == {"state": "KEPT"}
    for name, said in (
        ("2026-11-23", "no report of 2026-11-23"),
        ("2026-11-21", "no report"),
        ("yesterday", "no date"),
    ):
        wrong = lungwatch("nightly", "show", name)
        assert wrong.code == 2
        assert said in wrong.err


def test_a_report_that_is_gone_is_named(lungwatch: Lungwatch, night: Path) -> None:
    (night / "report.txt").unlink()
    said = lungwatch("nightly", "show", "2026-11-22")
    assert (said.code, "report.txt cannot be read" in said.err) == (2, True)


def test_without_a_key_no_night_begins(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    said = lungwatch("nightly", "--now")
    assert said.code == 2
    assert "LUNGWATCH_SIGNING_KEY_FILE is not set" in said.err
    with sessions.begin() as session:
        assert not runs.newest(session, 1)


def test_alone_it_says_how_it_is_used(lungwatch: Lungwatch) -> None:
    said = lungwatch("nightly")
    assert said.code == 0
    assert "--now" in said.out
