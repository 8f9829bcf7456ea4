from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS
from db.vocabulary import ReceiptState
from db.worker_figures import Timing, WorkerFigures, from_json, to_json
from imaging.reasons import Rejection
from tests.integration.worker_kit import HandClock
from worker.metrics.figures import Cause, Figures
from worker.metrics.recent import Recent


def test_a_new_worker_has_done_nothing() -> None:
    clock = HandClock()
    figures = Figures(clock)
    recent = Recent(figures, clock)
    assert recent.summary() == WorkerFigures()
    figures.helper_started(Cause.FIRST)
    clock.seconds = 10
    assert recent.summary() == WorkerFigures(over_seconds=10.0)


def test_it_says_what_the_last_minutes_brought_and_what_went_wrong_since_the_start() -> None:
    clock = HandClock()
    figures = Figures(clock)
    recent = Recent(figures, clock)
    for seconds in (0.02, 0.04):
        figures.decoded(RLE_LOSSLESS, seconds)
    figures.decoded(EXPLICIT_VR_LITTLE_ENDIAN, 0.01)
    figures.prepared(0.001)
    figures.inferred(3, 0.03)
    for waited in range(20):
        figures.finished(ReceiptState.CLASSIFIED, 0.005, datetime.now(UTC) - timedelta(seconds=waited), None)
    figures.finished(ReceiptState.QUARANTINED, 0.005, None, Rejection.TRUNCATED)
    figures.attempt_failed(Rejection.CRASHED)
    figures.helper_started(Rejection.CRASHED)
    # no trouble
    figures.helper_started(Cause.WORN_OUT)
    figures.batch_failed()
    figures.lease_lost()
    figures.host_failed()
    clock.seconds = 60
    first = recent.summary()
    assert (first.over_seconds, first.finished, first.batched) == (60.0, 21, 3)
    assert first.decode == {"RLELossless": Timing(2, 0.06), "ExplicitVRLittleEndian": Timing(1, 0.01)}
    assert (first.prepare, first.inference) == (Timing(1, 0.001), Timing(1, 0.03))
    assert first.commit == Timing(21, pytest.approx(0.105))
    assert first.waited.count == 20
    # of 0 to 19 seconds: in the bucket from 10 to 30
    assert first.waited_95 == pytest.approx(28, abs=1)
    since_start = {"attempts_failed": {"CRASHED": 1}, "quarantined": {"TRUNCATED": 1}}
    assert (first.attempts_failed, first.quarantined) == tuple(since_start.values())
    assert first.helpers_replaced == {"CRASHED": 1}
    assert (first.batches_failed, first.leases_lost, first.host_failures) == (1, 1, 1)
    # nothing more is done: after five minutes only what went wrong is still told
    for clock.seconds in range(70, 420, 10):
        last = recent.summary()
    assert (last.finished, last.decode, last.commit, last.waited_95) == (0, {}, Timing(), None)
    assert 300 <= last.over_seconds < 340
    assert last.quarantined == {"TRUNCATED": 1}


def test_what_it_remembers_does_not_grow() -> None:
    clock = HandClock()
    recent = Recent(Figures(clock), clock)
    for clock.seconds in range(0, 7200, 10):
        recent.summary()
    assert len(recent._earlier) <= 12


def test_the_column_holds_it_and_another_releases_is_not_understood() -> None:
    figures = WorkerFigures(over_seconds=5.0, decode={"RLELossless": Timing(2, 0.5)}, waited_95=1.5)
    assert from_json(to_json(figures)) == figures
    assert from_json(None) is None
    assert from_json({"over_seconds": "long"}) is None
    # one that a later release added is passed over
    assert from_json(to_json(figures) | {"more": 1}) == figures
