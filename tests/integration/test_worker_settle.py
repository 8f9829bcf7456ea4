"""Settling as workers do it: the audit draw, and registrars that were killed for good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.spool import Entry, Spool
from db.heartbeats import Pulse, beat
from db.models.flag import Flag
from db.models.model import Heartbeat
from db.models.study import Study
from db.queries import results
from db.receipts import register
from db.settling import reopen
from db.studies import lock_study
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome, ProcessKind
from tests.factories.rows import (
    FlagFactory,
    HeartbeatFactory,
    ImageFactory,
    StudyFactory,
    ago,
    entry,
    new_receipts,
    rows_in,
)
from worker.settle import settle_due

Sessions = sessionmaker[Session]
KEY = "a key of this test's own"
PLACES = {FLAG_PRIORITY[kind] for kind in (FlagKind.SUSPECTED, FlagKind.NO_RESULT, FlagKind.UNCERTAIN)}


def _studies(sessions: Sessions, count: int, *flags: FlagKind) -> list[int]:
    outcome = Outcome.SUSPECTED if FlagKind.SUSPECTED in flags else Outcome.NOT_SUSPECTED
    with sessions.begin() as session, rows_in(session):
        studies = [StudyFactory(first_received_at=ago(300)) for _ in range(count)]
        for study in studies:
            image = ImageFactory(study=study, outcome=outcome)
            for kind in flags:
                FlagFactory(study_id=study.id, image_id=image.id, kind=kind)
        return [study.id for study in studies]


def _audits(sessions: Sessions) -> dict[int, Flag]:
    with sessions() as session:
        return {flag.study_id: flag for flag in session.scalars(select(Flag).where(Flag.kind == FlagKind.AUDIT))}


def _drawing(settings: Settings, unflagged: float, flagged: float) -> Settings:
    return settings.model_copy(
        update={
            "audit_key": Settings(audit_key=KEY).audit_key,
            "audit_share": unflagged,
            "audit_flagged_share": flagged,
        }
    )


class TestTheAuditDraw:
    def test_a_study_is_drawn_or_passed_over_once(self, ledger_settings: Settings, sessions: Sessions) -> None:
        _studies(sessions, 60)
        half, everyone = _drawing(ledger_settings, 0.5, 1.0), _drawing(ledger_settings, 1.0, 1.0)
        assert settle_due(half, sessions) == 60
        drawn = _audits(sessions)
        assert 10 < len(drawn) < 50
        assert {flag.draw_probability for flag in drawn.values()} == {0.5}
        # something comes later for each of them, and shares have grown
        with sessions.begin() as session:
            for number in session.scalars(select(Study.id)).all():
                reopen(session, lock_study(session, number))
        assert settle_due(everyone, sessions) == 60
        assert _audits(sessions).keys() == drawn.keys()

    def test_an_audited_study_stands_where_its_score_put_it(
        self, ledger_settings: Settings, sessions: Sessions
    ) -> None:
        suspected = _studies(sessions, 3, FlagKind.SUSPECTED, FlagKind.POOR_IMAGE)
        uncertain = _studies(sessions, 3, FlagKind.UNCERTAIN)
        settle_due(_drawing(ledger_settings, 0.0, 1.0), sessions)
        placed = {number: flag.priority for number, flag in _audits(sessions).items()}
        assert placed == dict.fromkeys(suspected, 10) | dict.fromkeys(uncertain, 50)
        # and keeps its place where a header takes the flag away
        with sessions.begin() as session:
            for flag in session.scalars(select(Flag).where(Flag.kind != FlagKind.AUDIT)):
                flag.cleared_at = ago(0)
        with sessions() as session:
            rows = results(session, flagged=True)
        assert {row.study_id: row.priority for row in rows} == placed

    def test_place_does_not_tell_a_study_without_flag(self, ledger_settings: Settings, sessions: Sessions) -> None:
        # what a blind reader sees may stand beside it, and must not tell that nothing else does
        plain, poor = _studies(sessions, 40), _studies(sessions, 40, FlagKind.POOR_IMAGE)
        settle_due(_drawing(ledger_settings, 1.0, 1.0), sessions)
        placed = _audits(sessions)
        for group in (plain, poor):
            found = [placed[number].priority for number in group]
            assert set(found) == PLACES
            assert max(found.count(place) for place in PLACES) < 30
        with sessions() as session:
            shown = {row.study_id: row.priority for row in results(session, flagged=True)}
        assert shown == {number: flag.priority for number, flag in placed.items()}

    def test_a_patient_is_never_moved_down(self, ledger_settings: Settings, sessions: Sessions) -> None:
        numbers = _studies(sessions, 10)
        settle_due(_drawing(ledger_settings, 1.0, 1.0), sessions)
        with sessions.begin() as session, rows_in(session):
            for number in numbers:
                FlagFactory(study_id=number, kind=FlagKind.SUSPECTED)
        with sessions() as session:
            rows = results(session, flagged=True)
        assert {row.priority for row in rows} == {FLAG_PRIORITY[FlagKind.SUSPECTED]}
        assert {(row.outcome, row.flags) for row in rows} == {(None, ("AUDIT",))}


class TestAKilledRegistrar:
    @pytest.fixture
    def put(self, ledger_settings: Settings) -> Callable[[Entry], None]:
        """Leave a file in the dead listener's spool."""
        spool = Spool(ledger_settings.data_dir, "renamed")
        spool.new.mkdir(parents=True)

        def write(name: Entry) -> None:
            spool.path(name).write_bytes(b"x")

        (spool.new / "notes.txt").write_bytes(b"x")
        return write

    @pytest.fixture(autouse=True)
    def _killed(self, sessions: Sessions) -> None:
        _studies(sessions, 1)
        with sessions.begin() as session, rows_in(session):
            HeartbeatFactory(process="dead", listener="renamed", seen_at=ago(400), horizon=ago(400))
            HeartbeatFactory(listener="listener")

    def _stopped(self, sessions: Sessions) -> bool:
        with sessions() as session:
            return session.scalars(select(Heartbeat.stopped_at).where(Heartbeat.process == "dead")).one() is not None

    def test_holds_nothing_up_once_its_spool_is_registered(
        self, ledger_settings: Settings, sessions: Sessions, put: Callable[[Entry], None]
    ) -> None:
        put(entry(1))
        put(entry(2))
        for count in (1, 2):
            assert settle_due(ledger_settings, sessions) == 0
            assert not self._stopped(sessions)
            with sessions.begin() as session:
                register(session, new_receipts(count, listener="renamed", received_at=ago(10)), 900)
        assert settle_due(ledger_settings, sessions) == 1
        assert self._stopped(sessions)

    def test_that_left_nothing_holds_nothing_up(
        self, ledger_settings: Settings, sessions: Sessions, put: Callable[[Entry], None]
    ) -> None:
        del put
        assert settle_due(ledger_settings, sessions) == 1
        assert self._stopped(sessions)
        # whoever was only cut off is in charge again with its next beat
        with sessions.begin() as session:
            beat(session, Pulse("dead", ProcessKind.REGISTRAR, "h", 1, ago(900), listener="renamed", horizon=ago(0)))
        assert not self._stopped(sessions)

    def test_whose_spool_is_not_to_be_seen_holds_everything_up(
        self, ledger_settings: Settings, sessions: Sessions
    ) -> None:
        assert settle_due(ledger_settings, sessions) == 0
        assert not self._stopped(sessions)

    def test_is_given_time_to_come_back(
        self, ledger_settings: Settings, sessions: Sessions, put: Callable[[Entry], None]
    ) -> None:
        del put
        with sessions.begin() as session:
            session.scalars(select(Heartbeat).where(Heartbeat.process == "dead")).one().seen_at = ago(200)
        assert settle_due(ledger_settings, sessions) == 0
        assert not self._stopped(sessions)
