"""Re-scoring by real workers: with real bundles, behind whatever is newly received, and killed at every step."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.settings import Settings
from db.base import make_sessions
from db.models.model import Champion, ModelVersion
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.rescoring import Rescoring
from db.models.study import StudyRevision
from db.queries import results
from db.rescoring import queue
from db.vocabulary import FlagKind, Outcome, ReceiptState, RescoringState
from tests.factories import dicom_objects as objects
from tests.factories.bundles import bare, make_bundle, make_key, starter, write_public
from tests.factories.rows import ModelVersionFactory, ago, promoted, rows_in
from tests.integration.rescoring_kit import Again
from tests.integration.worker_kit import bench, deliver
from tests.integration.worker_process import PATIENT, wait_finished, working
from tests.waiting import wait_until
from worker.champion import ChampionWatch
from worker.engine import Engine as WorkerEngine
from worker.rescoring.rescorer import Rescorer

Sessions = sessionmaker[Session]
# at these operating points everything is SUSPECTED, or nothing
EVERYTHING = {"threshold": 1e-9, "low": 0.0, "high": 1e-8}
NOTHING = {"threshold": 1.0 - 1e-9, "low": 1.0 - 2e-9, "high": 1.0}


@pytest.fixture
def database(sqlite_engine: Engine) -> Engine:
    return sqlite_engine


@pytest.fixture
def trusted(tmp_path: Path) -> dict[str, object]:
    """What makes a worker trust this test's bundles."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "test.pem")
    return {"trusted_keys_dir": keys, "settle_seconds": 0, "audit_share": 0, "audit_flagged_share": 0}


def bundle(settings: Settings, version: str, point: dict[str, float]) -> ModelVersion:
    """A registered bundle of the shipped network at another operating point."""
    shipped = starter().manifest
    digest = make_bundle(
        settings.bundles / version,
        **bare() | {"version": version},
        operating_point={**shipped.operating_point.model_dump(), "threshold": point["threshold"]},
        uncertainty={**shipped.uncertainty.model_dump(), "low": point["low"], "high": point["high"]},
    )
    return ModelVersionFactory(
        name="test",
        version=version,
        bundle_digest=digest,
        location=version,
        preprocess_digest=shipped.preprocess_digest,
        threshold=point["threshold"],
    )


def state(sessions: Sessions) -> RescoringState:
    with sessions() as session:
        return session.scalars(select(Rescoring.state)).one()


def test_a_promotion_is_followed_by_a_second_look_with_the_new_bundle_while_the_worker_runs(
    settings: Settings, database: Engine, trusted: dict[str, object]
) -> None:
    sessions = make_sessions(database)
    with sessions.begin() as session, rows_in(session):
        former, new = bundle(settings, "1", NOTHING), bundle(settings, "2", EVERYTHING)
        session.add(Champion(id=1, model_version_id=former.id, fencing_token=1, since=ago(1)))
    deliver(settings, sessions, objects.phantom())
    with working(settings, **trusted) as worker:
        wait_finished(database)
        wait_until(lambda: revisions(sessions) == [(1, Outcome.NOT_SUSPECTED)], 30, "the study settles")
        with sessions.begin() as session:
            promoted(session, new.id, 1)
            assert queue(session, new.id, 7) == 1
        wait_until(lambda: state(sessions) is RescoringState.DONE, 60, "the image is scored again")
        settled = [(1, Outcome.NOT_SUSPECTED), (2, Outcome.SUSPECTED)]
        wait_until(lambda: revisions(sessions) == settled, 30, "the new revision settles")
        assert worker.stop() == 0
    with sessions() as session:
        first, second = session.scalars(select(Prediction).order_by(Prediction.id))
        assert (first.model_version_id, second.model_version_id) == (former.id, new.id)
        # one network, one master: only the operating point differs
        assert (first.score, first.input_digest) == (second.score, second.input_digest)
        (row,) = results(session, flagged=True)
        assert (row.outcome, row.model_version, row.flags[0]) == (Outcome.SUSPECTED, "test 2", "SUSPECTED")


def test_a_champion_promoted_under_load_takes_over_between_two_batches(
    settings: Settings, database: Engine, trusted: dict[str, object]
) -> None:
    sessions = make_sessions(database)
    with sessions.begin() as session, rows_in(session):
        former, new = bundle(settings, "1", NOTHING), bundle(settings, "2", EVERYTHING)
        session.add(Champion(id=1, model_version_id=former.id, fencing_token=1, since=ago(1)))
    with working(settings, batch_size=4, champion_poll_seconds=0.1, **PATIENT, **trusted) as worker:
        delivered = 0

        def served_by(model: ModelVersion) -> int:
            with sessions() as session:
                return session.scalars(select(func.count()).where(Prediction.model_version_id == model.id)).one()

        def fed(model: ModelVersion, count: int) -> bool:
            """Keep some batches waiting until so many images were judged by a model."""
            nonlocal delivered
            with sessions() as session:
                waiting = session.scalars(select(func.count()).where(Receipt.state == ReceiptState.PENDING)).one()
            if waiting < 8:
                deliver(settings, sessions, objects.phantom())
                delivered += 1
            return served_by(model) >= count

        wait_until(lambda: fed(former, 4), 60, "the former champion judges")
        with sessions.begin() as session:
            promoted(session, new.id, 1)
        wait_until(lambda: fed(new, 4), 60, "the new one judges")
        wait_finished(database)
        assert worker.stop() == 0
    with sessions() as session:
        served = list(session.scalars(select(Prediction.model_version_id).order_by(Prediction.id)))
        states = set(session.execute(select(Receipt.state, Receipt.attempts)).all())
    # each image once, by one of them, and never by the former again
    assert len(served) == delivered
    assert served == sorted(served, key=[former.id, new.id].index)
    assert states == {(ReceiptState.CLASSIFIED, 1)}


def revisions(sessions: Sessions) -> list[tuple[int, Outcome]]:
    with sessions() as session:
        return [
            (one.revision, one.outcome) for one in session.scalars(select(StudyRevision).order_by(StudyRevision.id))
        ]


def test_kill_9_at_every_step_gives_one_second_look(
    settings: Settings, database: Engine, trusted: dict[str, object]
) -> None:
    sessions = make_sessions(database)
    again = Again(settings, sessions)
    study = again.judged(Outcome.NOT_SUSPECTED)
    with sessions.begin() as session, rows_in(session):
        new = bundle(settings, "3", EVERYTHING).id
        promoted(session, new, 1)
        assert queue(session, new, 7) == 1
    # "rescoring" is passed with everything written and nothing committed
    for failpoint in ("rescoring_claimed", "rescoring", "rescored"):
        with sessions.begin() as session:
            session.execute(update(Rescoring).values(lease_until=ago(1)))
        with working(settings, failpoint=failpoint, maximum_attempts=10, **trusted) as dying:
            assert dying.process.wait(60) == -signal.SIGKILL
        made = state(sessions) is RescoringState.DONE
        assert made is (failpoint == "rescored")
        assert (len(again.predictions(study)), again.study(study).revision) == ((2, 2) if made else (1, 1))
    with working(settings, maximum_attempts=10, **trusted) as worker:
        wait_until(lambda: len(again.revisions(study)) == 2, 60, "the new revision settles")
        assert worker.stop() == 0
    assert again.revisions(study) == [(1, Outcome.NOT_SUSPECTED), (2, Outcome.SUSPECTED)]
    assert again.flags(study) == [(FlagKind.SUSPECTED, 2)]
    assert [prediction.model_version_id for prediction in again.predictions(study)] == [again.former, new]
    assert again.rows()[0].attempts == 3


def test_what_is_newly_received_comes_first(settings: Settings, database: Engine) -> None:
    sessions = make_sessions(database)
    again = Again(settings, sessions)
    for _ in range(12):
        again.judged(Outcome.NOT_SUSPECTED)
    again.promoted()
    with bench(settings, sessions) as worker:
        watch = ChampionWatch(
            sessions,
            open_bundle=lambda _: again.serving,
            install_starter=lambda _: None,
            poll_seconds=60,
            clock=SystemClock(),
        )
        watch.serving = again.serving
        engine = WorkerEngine(
            settings,
            sessions=sessions,
            journey=worker.journey,
            rescorer=Rescorer(settings, sessions, SystemClock()),
            champion=watch,
            bell=threading.Event(),
            stopping=threading.Event(),
            clock=SystemClock(),
        )
        receipts = [worker.deliver(objects.phantom(f"first-{number}")) for number in range(2)]
        assert engine._once() == 2
        assert done(sessions) == 0
        assert engine._once() == 4
        assert done(sessions) == 4
        receipts.append(worker.deliver(objects.phantom("second")))
        assert engine._once() == 1
        assert done(sessions) == 4
        assert [engine._once() for _ in range(3)] == [4, 4, 0]
        assert {worker.receipt(receipt).state for receipt in receipts} == {ReceiptState.CLASSIFIED}
    assert done(sessions) == 12


def done(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalars(select(func.count()).where(Rescoring.state == RescoringState.DONE)).one()


def test_a_corrected_header_keeps_the_result_in_force_and_not_what_was_said_beside_it(
    settings: Settings, database: Engine
) -> None:
    sessions = make_sessions(database)
    dataset = objects.phantom()
    with bench(settings, sessions) as worker:
        worker.deliver(dataset)
        worker.run()
        again = Again(settings, sessions)
        again.predict = lambda inputs: inputs.mean(axis=(1, 2, 3)) * 0
        again.promoted()
        again.run()
        dataset.AccessionNumber = "CORRECTED"
        revised = worker.deliver(dataset)
        worker.run()
        assert worker.receipt(revised).state is ReceiptState.HEADER_REVISION
    first, beside, copied = worker.predictions()
    assert (beside.beside, beside.score) == (True, 0.0)
    assert (copied.model_version_id, copied.score, copied.beside) == (first.model_version_id, first.score, False)
    with sessions() as session:
        (row,) = results(session)
    assert (row.outcome, row.score, row.accession_number) == (Outcome.SUSPECTED, first.score, "CORRECTED")
