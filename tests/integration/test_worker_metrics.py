"""What a worker counts on real journeys, what it logs of them, and what Prometheus sees of a real worker."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from pydicom import uid
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_sessions
from db.models.receipt import Receipt
from db.report import status
from db.vocabulary import ReceiptState
from imaging.phantom_objects import to_bytes
from tests.factories import dicom_objects as objects
from tests.integration.bad_readers import MARK
from tests.integration.worker_kit import Bench, HandClock, bench, deliver
from tests.integration.worker_process import wait_finished, working
from tests.waiting import wait_until
from worker.batching import Collecting
from worker.metrics.families import LEDGER, WORKER

Sessions = sessionmaker[Session]


def counted(worker: Bench) -> dict[tuple[str, ...], float]:
    samples = [sample for metric in worker.figures.collect() for sample in metric.samples]
    return {(one.name.removeprefix(WORKER), *one.labels.values()): one.value for one in samples}


def run_until_quiet(worker: Bench) -> None:
    """Run batches until no receipt is PENDING, without waiting for what was put off."""

    def quiet() -> bool:
        worker.run()
        with worker.sessions.begin() as session:
            session.execute(update(Receipt).where(Receipt.state == ReceiptState.PENDING).values(lease_until=None))
            return session.scalar(select(Receipt.id).where(Receipt.state == ReceiptState.PENDING).limit(1)) is None

    wait_until(quiet, 60, "no receipt is PENDING")


def test_each_step_of_a_journey_is_counted_and_logged(settings: Settings, sessions: Sessions) -> None:
    with bench(settings, sessions) as worker, structlog.testing.capture_logs() as events:
        plain, again = objects.phantom("plain"), objects.phantom("plain")
        delivered = [
            worker.deliver(plain),
            worker.deliver(objects.phantom("packed", syntax=uid.RLELossless)),
            worker.deliver(objects.hand(seed="hand")),
            worker.deliver(again),
            worker.deliver(b"no object of ours"),
        ]
        worker.run()
        found = counted(worker)
    assert found["attempts_total",] == 5
    assert {labels[0]: value for (name, *labels), value in found.items() if name == "decode_seconds_count"} == {
        "ExplicitVRLittleEndian": 1,
        "RLELossless": 1,
    }
    assert found["decode_seconds_sum", "RLELossless"] > 0
    assert found["prepare_seconds_count",] == found["batch_images_sum",] == 2
    assert 1 <= found["inference_seconds_count",] <= 2
    states = {labels[0]: value for (name, *labels), value in found.items() if name == "receipts_finished_total"}
    assert {state: count for state, count in states.items() if count} == {
        "CLASSIFIED": 2,
        "OUT_OF_SCOPE": 1,
        "DUPLICATE": 1,
        "QUARANTINED": 1,
    }
    assert found["commit_seconds_count",] == found["acknowledged_to_row_seconds_count",] == 5
    assert found["quarantined_total", "NOT_DICOM"] == 1
    assert sum(value for (name, *_), value in found.items() if name == "quarantined_total") == 1
    assert found["helper_starts_total", "FIRST"] == settings.helper_processes

    told = {one["receipt_id"]: one for one in events if one["event"] == "receipt_finished"}
    assert set(told) == set(delivered)
    classified = told[delivered[1]]
    assert classified["syntax"] == "RLELossless"
    stages = ("decode_ms", "prepare_ms", "inference_ms", "commit_ms", "waited_ms")
    assert all(classified[stage] > 0 for stage in stages)
    assert classified["waited_ms"] >= sum(classified[stage] for stage in ("decode_ms", "commit_ms"))
    assert "inference_ms" not in told[delivered[2]]
    assert "decode_ms" not in told[delivered[3]]
    said = json.dumps(list(told.values()), default=str)
    for identifier in (plain.SOPInstanceUID, plain.StudyInstanceUID, plain.PatientID, "PACS"):
        assert str(identifier) not in said


def test_attempts_that_fail_are_counted_by_reason_with_the_helpers_they_cost(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    settings = make_settings(maximum_attempts=2, helper_images=1, helper_processes=1)
    with bench(settings, make_sessions(sqlite_engine), reader="tests.integration.bad_readers:each_its_own") as worker:
        bad = objects.phantom("bad")
        bad.AccessionNumber = MARK.decode() + "_KILL"
        worker.deliver(bad)
        worker.deliver(objects.phantom("good"))
        run_until_quiet(worker)
        worker.deliver(objects.phantom("next"))
        run_until_quiet(worker)
        found = counted(worker)
    assert found["attempts_total",] == 4
    assert found["attempts_failed_total", "CRASHED"] == 2
    assert found["quarantined_total", "CRASHED"] == 1
    assert found["helper_starts_total", "FIRST"] == 1
    # one crash follows the other, and an image after the second, or the first of them follows that image
    assert 1 <= found["helper_starts_total", "CRASHED"] <= 2
    assert found["helper_starts_total", "WORN_OUT"] >= 1


def test_a_batch_that_fails_is_counted_and_its_images_are_not_lost(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    def fail_together(inputs: object) -> object:
        assert len(inputs) == 1, "together it is too much"  # type: ignore[arg-type] # of an array
        return inputs.mean(axis=(1, 2, 3))  # type: ignore[attr-defined] # likewise

    with bench(make_settings(), make_sessions(sqlite_engine), fail_together) as worker:
        images = [worker.deliver(objects.phantom(f"image-{number}")) for number in range(2)]
        # both at once, however long one must wait for the other
        worker.serving = replace(worker.serving, collecting=Collecting(2, 60.0))
        worker.run()
        found = counted(worker)
    assert {worker.receipt(one).state for one in images} == {ReceiptState.CLASSIFIED}
    assert found["batches_failed_total",] == 1
    assert found["inference_seconds_count",] == found["batch_images_bucket", "1.0"] == 2
    assert found["attempts_failed_total", "INFERENCE_FAILED"] == 0


def test_a_lease_that_another_worker_took_is_counted(settings: Settings, sqlite_engine: Engine) -> None:
    sessions = make_sessions(sqlite_engine)

    def lose(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with sessions.begin() as session:
            session.execute(update(Receipt).values({Receipt.lease_token: "another's"}))
        return np.full(len(inputs), 0.1, np.float32)

    with bench(settings, sessions, lose) as worker:
        worker.deliver(objects.phantom())
        worker.run_once()
        found = counted(worker)
    assert found["leases_lost_total",] == 1
    assert not any(value for (name, *_), value in found.items() if name == "receipts_finished_total")


def test_a_lease_found_lost_twice_is_counted_once(settings: Settings, sqlite_engine: Engine) -> None:
    sessions, clock = make_sessions(sqlite_engine), HandClock()

    def lose(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with sessions.begin() as session:
            session.execute(update(Receipt).values({Receipt.lease_token: "another's"}))
        # what is held is renewed now, and told to be lost; the image in hand finds out again when it is recorded
        clock.seconds += settings.lease_seconds / 2
        return np.full(len(inputs), 0.1, np.float32)

    with bench(settings, sessions, lose, clock=clock) as worker:
        worker.deliver(objects.phantom())
        worker.run_once()
        found = counted(worker)
    assert found["leases_lost_total",] == 1


@pytest.fixture
def scraped(settings: Settings, sqlite_engine: Engine) -> tuple[str, Engine]:
    """What Prometheus sees of a worker process once it has done an image."""
    dataset = objects.phantom()
    deliver(settings, make_sessions(sqlite_engine), to_bytes(dataset))
    with working(settings, worker_metrics_port=0) as worker:
        wait_finished(sqlite_engine)
        (port,) = (event["port"] for event in _events(worker.log) if event.get("event") == "metrics_served")

        def look() -> str | None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
                body: str = response.read().decode()
            # counted a moment after its row is there
            return body if f'{WORKER}receipts_finished_total{{state="CLASSIFIED"}} 1.0' in body else None

        body = wait_until(look, 30, "the receipt's end is counted")
        wait_until(lambda: _figures(sqlite_engine), 30, "a heartbeat tells of it")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
            assert response.status == 200
        assert worker.stop() == 0
    for identifier in (dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.PatientID):
        assert str(identifier) not in body
    return body, sqlite_engine


def _events(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def _figures(engine: Engine) -> bool:
    with make_sessions(engine)() as session:
        (process,) = status(session).processes
        return process.figures is not None and process.figures.finished == 1


def test_a_real_worker_is_scraped_and_tells_in_its_heartbeat(scraped: tuple[str, Engine]) -> None:
    body, engine = scraped
    assert f'{WORKER}decode_seconds_count{{syntax="ExplicitVRLittleEndian"}} 1.0' in body
    assert f"{WORKER}inference_seconds_count 1.0" in body
    assert f'{WORKER}model_info{{runtime="litert",version="' in body
    assert f"{WORKER}well 1.0" in body
    assert f"{LEDGER}up 1.0" in body
    with make_sessions(engine)() as session:
        (process,) = status(session).processes
    assert process.figures is not None
    assert process.figures.decode["ExplicitVRLittleEndian"].count == 1
    assert process.figures.inference.count == 1
    assert process.figures.over_seconds > 0
