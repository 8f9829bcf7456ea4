"""trace, quarantine, reconcile and db on a ledger of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from cli.quarantine import file_of
from core.settings import Settings
from core.spool import Entry, Spool, stored_path
from db.models.receipt import Receipt
from db.models.study import Study
from db.quarantine import quarantined
from db.vocabulary import FlagKind, Outcome, ReceiptState
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


def a_study(accession: str) -> tuple[str, str]:
    study = StudyFactory(accession_number=accession, patient_id="\x1b[5mP", settled_at=ago(5))
    image = ImageFactory(study=study, outcome=Outcome.SUSPECTED, annotations=["UNKNOWN_AGE"], rows=10, columns=20)
    PredictionFactory(image=image, outcome=Outcome.SUSPECTED)
    FlagFactory(study=study, kind=FlagKind.SUSPECTED)
    ReceiptFactory(study_id=study.id, image_id=image.id, state=ReceiptState.CLASSIFIED, finished_at=ago(1))
    return study.study_uid, image.sop_instance_uid


def test_trace_finds_a_study_by_each_of_its_names(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study_uid, instance_uid = a_study("ACC-1")
    for term in ("ACC-1", study_uid, instance_uid):
        said = lungwatch("trace", term, "--json")
        assert said.code == 0
        (story,) = json.loads(said.out)
        assert story["study_uid"] == study_uid
        assert story["images"][0]["predictions"][0]["outcome"] == "SUSPECTED"
    plain = lungwatch("trace", "ACC-1")
    assert plain.code == 0
    # received 300 s ago, and at its end a second ago
    for expected in (study_uid, instance_uid, "SUSPECTED", "UNKNOWN_AGE", "20 x 10", "CLASSIFIED", " 299."):
        assert expected in plain.out
    assert "\x1b" not in plain.out


def test_trace_tells_what_was_said_beside_the_result_in_force(
    lungwatch: Lungwatch, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session, rows_in(session):
        image = ImageFactory(study=StudyFactory(accession_number="ACC-2"), outcome=Outcome.SUSPECTED)
        PredictionFactory(image=image, outcome=Outcome.SUSPECTED)
        PredictionFactory(image=image, outcome=Outcome.NOT_SUSPECTED, beside=True)
    (story,) = json.loads(lungwatch("trace", "ACC-2", "--json").out)
    said = story["images"][0]["predictions"]
    assert [(one["outcome"], one["beside"]) for one in said] == [("SUSPECTED", False), ("NOT_SUSPECTED", True)]
    assert " ".join(lungwatch("trace", "ACC-2").out.split()).count("beside") == 1


def test_trace_of_what_is_unknown_repeats_no_identifier(lungwatch: Lungwatch) -> None:
    said = lungwatch("trace", "SECRET-7")
    assert said.code == 1
    assert "SECRET-7" not in said.err + said.out
    assert json.loads(lungwatch("trace", "SECRET-7", "--json").out) == []


def test_quarantine_lists_shows_and_puts_back(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        number = ReceiptFactory(quarantined=True, detail="ends early", attempts=3).id
        ReceiptFactory(quarantined=True, reason="NOT_DICOM")
    assert len(json.loads(lungwatch("quarantine", "list", "--json").out)) == 2
    assert len(json.loads(lungwatch("quarantine", "list", "--limit", "1", "--json").out)) == 1
    assert len(json.loads(lungwatch("quarantine", "list", "--after", str(number + 1), "--json").out)) == 1
    (only,) = json.loads(lungwatch("quarantine", "list", "--reason", "TRUNCATED", "--json").out)
    assert only["receipt_id"] == number
    assert "TRUNCATED" in lungwatch("quarantine", "list").out
    shown = lungwatch("quarantine", "show", str(number))
    assert "ends early" in shown.out
    assert "(missing)" in shown.out
    assert not json.loads(lungwatch("quarantine", "show", str(number), "--json").out)["present"]
    assert lungwatch("quarantine", "retry", str(number)).code == 0
    again = lungwatch("quarantine", "retry", str(number))
    assert again.code == 1
    assert "QUARANTINED" in again.err or "PENDING" in again.err
    assert lungwatch("quarantine", "show", "999").code == 1


def test_all_of_one_reason_are_put_back_as_many_as_asked_for(
    lungwatch: Lungwatch, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(outcome=Outcome.NO_RESULT)
        gone = [ReceiptFactory(quarantined=True, reason="MISSING_FILE", attempts=1).id for _ in range(3)]
        ReceiptFactory(quarantined=True, reason="MISSING_FILE", study_id=study.id)
        other = ReceiptFactory(quarantined=True, reason="NOT_DICOM").id
    first = lungwatch("quarantine", "retry", "--reason", "MISSING_FILE", "--limit", "2", "--json")
    assert json.loads(first.out) == {"reason": "MISSING_FILE", "put_back": 2, "left": 2}
    with sessions.begin() as session:
        rows = [session.get_one(Receipt, number) for number in gone]
        assert [row.state for row in rows] == [ReceiptState.PENDING] * 2 + [ReceiptState.QUARANTINED]
        assert [row.attempts for row in rows] == [0, 0, 1]
    said = lungwatch("quarantine", "retry", "--reason", "MISSING_FILE")
    assert "2 put back to be processed again; 0 of MISSING_FILE left" in said.err
    (left,) = json.loads(lungwatch("quarantine", "list", "--json").out)
    assert left["receipt_id"] == other
    with sessions.begin() as session:
        assert session.get_one(Study, study.id).outcome is Outcome.PENDING
    nothing = json.loads(lungwatch("quarantine", "retry", "--reason", "MISSING_FILE", "--json").out)
    assert nothing == {"reason": "MISSING_FILE", "put_back": 0, "left": 0}


@pytest.mark.parametrize("arguments", [(), ("1", "--reason", "TRUNCATED")])
def test_retry_wants_a_receipt_or_a_reason(lungwatch: Lungwatch, arguments: tuple[str, ...]) -> None:
    said = lungwatch("quarantine", "retry", *arguments)
    assert said.code == 2
    assert "--reason" in said.err


def test_an_empty_quarantine(lungwatch: Lungwatch) -> None:
    assert lungwatch("quarantine", "list").err.strip() == "Nothing is in quarantine."


def test_a_quarantined_file_is_found_where_it_lies(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    del lungwatch
    with sessions.begin() as session, rows_in(session):
        ReceiptFactory(quarantined=True)
    with sessions() as session:
        (row,) = quarantined(session)
    entry = Entry.parse(row.entry)
    assert file_of(row, tmp_path) == Spool(tmp_path, "listener").path(entry)
    stored = stored_path(tmp_path, entry)
    stored.parent.mkdir(parents=True)
    stored.touch()
    assert file_of(row, tmp_path) == stored


def test_reconcile_names_what_is_missing(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], ledger_settings: Settings
) -> None:
    ledger_settings.data_dir.mkdir(parents=True, exist_ok=True)
    clean = lungwatch("reconcile", "--json")
    assert clean.code == 0
    assert json.loads(clean.out)["clean"]
    with sessions.begin() as session, rows_in(session):
        entry = ReceiptFactory(place=1, state=ReceiptState.CLASSIFIED, stored_at=ago(1)).entry
    said = lungwatch("reconcile")
    assert said.code == 1
    assert f"MISSING {entry} (listener)" in said.out
    assert "Not clean: 1 finding" in said.out
    assert json.loads(lungwatch("reconcile", "--json").out)["findings"][0]["name"] == entry


def test_db_upgrade_repeats_safely_and_check_agrees(lungwatch: Lungwatch) -> None:
    assert lungwatch("db", "upgrade").code == 0
    assert json.loads(lungwatch("db", "upgrade", "--json").out) == {"schema": "current"}
    assert lungwatch("db", "check").code == 0
    assert json.loads(lungwatch("db", "check", "--json").out) == {"schema": "current"}


@pytest.mark.parametrize("command", ["results", "status", "reconcile", "trace x", "quarantine list", "db check"])
def test_a_schema_of_another_time_is_refused(lungwatch: Lungwatch, engine: Engine, command: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of-another-time'"))
    said = lungwatch(*command.split())
    assert said.code == 2
    assert "schema" in said.err


def test_help_of_every_command_of_a_group(lungwatch: Lungwatch) -> None:
    for group, commands in {"quarantine": ("list", "show", "retry"), "db": ("upgrade", "check")}.items():
        for command in commands:
            assert command in lungwatch(group, "--help").out
            assert lungwatch(group, command, "--help").code == 0
