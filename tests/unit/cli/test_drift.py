from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from db import drift as ledger
from db.registry import install_champion_if_none
from tests.factories.rows import ModelVersionFactory, rows_in
from tests.factories.service import Service, serve
from tests.unit.cli.conftest import Lungwatch

SITE = Service(a_day=8)


def served(sessions: sessionmaker[Session], now: Service, days: int = 28) -> date:
    """Eight weeks alike and some more; returns the first day of these."""
    between = datetime.now(UTC).date() - timedelta(days=days)
    with sessions.begin() as session, rows_in(session):
        model = ModelVersionFactory().id
        install_champion_if_none(session, model)
        serve(session, between - timedelta(days=56), 56, model, SITE)
        serve(session, between, days, model, now)
    return between


def test_without_service_there_is_nothing_to_tell(lungwatch: Lungwatch) -> None:
    said = lungwatch("drift")
    assert said.code == 0
    assert "UNTOLD" in said.out
    assert "Nothing to compare with yet" in said.out


def test_the_first_look_sets_the_reference_and_says_so(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    between = served(sessions, SITE, days=1)
    assert "The reference was set now" in lungwatch("drift").err
    with sessions() as session:
        found = ledger.reference(session)
    assert found is not None
    assert found.last == between
    assert "The reference was set now" not in lungwatch("drift").err


def test_strong_drift_is_exit_code_1_and_a_new_reference_ends_it(
    lungwatch: Lungwatch, sessions: sessionmaker[Session]
) -> None:
    between = served(sessions, Service(a_day=8, devices={"\x1b[5mNEW": 1.0}))
    first, last = (str(day) for day in (between - timedelta(days=56), between - timedelta(days=1)))
    said = lungwatch("drift", "reference", "--first", first, "--last", last, "--reason", "the first weeks")
    assert (said.code, said.out) == (0, "")
    assert "448 studies" in said.err
    said = lungwatch("drift")
    assert said.code == 1
    assert "Strong drift" in said.out
    assert "\x1b" not in said.out
    found = json.loads(lungwatch("drift", "--json").out)
    assert (found["level"], found["blocks"]) == ("STRONG", True)
    (device,) = [one for one in found["measures"] if one["name"] == "device"]
    assert device["level"] == "STRONG"
    assert "\x1b[5mNEW" in device["categories"]
    # as it was before anything changed
    quiet = lungwatch("drift", "--json", "--on", str(between + timedelta(days=1)))
    assert (quiet.code, json.loads(quiet.out)["level"]) == (0, "UNTOLD")
    weeks = ("--first", str(between), "--last", str(between + timedelta(days=26)))
    assert json.loads(lungwatch("drift", "reference", *weeks, "--reason", "so it is", "--json").out)["studies"] == 216
    assert lungwatch("drift").code == 0


def test_days_that_cannot_be_a_reference_are_refused_with_the_reason(lungwatch: Lungwatch) -> None:
    days = ("--first", "2026-01-02", "--last", "2026-01-01")
    said = lungwatch("drift", "reference", *days, "--reason", "because")
    assert said.code == 2
    assert "--first must not be after" in said.err
    assert lungwatch("drift", "reference", *days).code == 2
    good = ("--first", "2026-01-01", "--last", "2026-01-02")
    for empty in ("", " "):
        nothing = lungwatch("drift", "reference", *good, "--reason", empty)
        assert (nothing.code, "--reason is no printable text" in nothing.err) == (2, True)
