from __future__ import annotations

import timeit
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydicom import uid

from core.transfer_syntaxes import JPEG_2000_LOSSLESS, OTHER, SYNTAX_NAMES
from db.vocabulary import TERMINAL, ReceiptState
from imaging.reasons import Rejection
from tests.integration.worker_kit import HandClock, StubRuntime, always
from worker.metrics.families import WORKER, WORKER_FAMILIES
from worker.metrics.figures import Cause, Failure, Figures
from worker.metrics.measured import Measured

ONE = np.zeros((1, 2, 2, 1), np.float32)
THREE = np.zeros((3, 2, 2, 1), np.float32)


def value(figures: Figures, name: str, **labels: str) -> float | None:
    found = [
        sample.value
        for metric in figures.collect()
        for sample in metric.samples
        if sample.name == WORKER + name and sample.labels == labels
    ]
    return found[0] if found else None


def everything(figures: Figures) -> None:
    """Use each kind of count once."""
    figures.decoded(JPEG_2000_LOSSLESS, 0.02)
    figures.serving("3", "litert")
    figures.finished(ReceiptState.CLASSIFIED, 0.01, datetime.now(UTC), None)


def test_what_is_shown_is_what_is_documented() -> None:
    figures = Figures()
    everything(figures)
    suffixes = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    expected = {
        (family.name + suffix, tuple(sorted({*family.labels, *(("le",) if suffix == "_bucket" else ())})))
        for family in WORKER_FAMILIES
        for suffix in suffixes[family.kind]
    }
    shown = [sample for metric in figures.collect() for sample in metric.samples]
    assert {(one.name, tuple(sorted(one.labels))) for one in shown} == expected
    assert {metric.documentation for metric in figures.collect()} == {family.help for family in WORKER_FAMILIES}


def test_decoding_is_counted_by_the_keyword_of_the_syntax() -> None:
    figures = Figures()
    figures.decoded(JPEG_2000_LOSSLESS, 0.02)
    figures.decoded(JPEG_2000_LOSSLESS, 0.03)
    assert value(figures, "decode_seconds_count", syntax="JPEG2000Lossless") == 2
    assert value(figures, "decode_seconds_sum", syntax="JPEG2000Lossless") == pytest.approx(0.05)
    assert value(figures, "decode_seconds_bucket", syntax="JPEG2000Lossless", le="0.025") == 1


def test_nothing_received_becomes_a_label() -> None:
    figures = Figures()
    everything(figures)
    for sent in (uid.MPEG2MPML, "1.2.840.113619.2.55", 'x"} 1\n', ""):
        figures.decoded(sent, 0.01)
    for reason in Rejection:
        figures.finished(ReceiptState.QUARANTINED, 0.01, None, reason)
        figures.attempt_failed(reason)
        figures.helper_started(reason)
    figures.finished(ReceiptState.QUARANTINED, 0.01, None, None)
    words = {*SYNTAX_NAMES, *TERMINAL, *Rejection, *Cause, *Failure, OTHER, "3", "litert"}
    labels = {
        word
        for metric in figures.collect()
        for sample in metric.samples
        for label, word in sample.labels.items()
        if label != "le" and not sample.name.endswith("build_info")
    }
    assert labels <= words
    assert value(figures, "decode_seconds_count", syntax=OTHER) == 4
    assert value(figures, "quarantined_total", reason="other") == 1


def test_a_receipts_end_is_counted_with_what_it_took_and_how_long_it_waited() -> None:
    figures = Figures(HandClock())
    assert figures.finished(ReceiptState.CLASSIFIED, 0.02, datetime.now(UTC) - timedelta(seconds=7), None) == (
        pytest.approx(7, abs=1)
    )
    # by the listener's clock, which may be ahead of ours
    assert figures.finished(ReceiptState.DUPLICATE, 0.02, datetime.now(UTC) + timedelta(hours=1), None) == 0
    assert figures.finished(ReceiptState.QUARANTINED, 0.02, None, Rejection.TRUNCATED) is None
    assert value(figures, "receipts_finished_total", state="CLASSIFIED") == 1
    assert value(figures, "receipts_finished_total", state="OUT_OF_SCOPE") == 0
    assert value(figures, "quarantined_total", reason="TRUNCATED") == 1
    assert value(figures, "commit_seconds_count") == 3
    assert value(figures, "acknowledged_to_row_seconds_count") == 2
    assert value(figures, "acknowledged_to_row_seconds_bucket", le="5.0") == 1


def test_batches_are_counted_and_those_that_failed_as_a_whole() -> None:
    figures = Figures()
    runtime = Measured(StubRuntime(always(0.5)), figures)
    assert runtime.name == "stub"
    assert list(runtime.predict(THREE)) == [0.5] * 3
    runtime.predict(ONE)
    assert value(figures, "batch_images_sum") == 4
    assert value(figures, "batch_images_bucket", le="2.0") == 1
    assert value(figures, "inference_seconds_count") == 2

    def fail(_: object) -> None:
        raise RuntimeError

    broken = Measured(StubRuntime(fail), figures)
    for inputs in (THREE, ONE):
        with pytest.raises(RuntimeError):
            broken.predict(inputs)
    # of the one by itself the attempt is counted, by whoever asked
    assert value(figures, "batches_failed_total") == 1
    assert value(figures, "inference_seconds_count") == 2


def test_one_model_at_a_time_is_in_service() -> None:
    figures = Figures()
    for version in ("1", "1", "2"):
        figures.serving(version, "litert")
    assert value(figures, "model_info", version="2", runtime="litert") == 1
    assert value(figures, "model_info", version="1", runtime="litert") is None


def test_counting_costs_microseconds() -> None:
    figures = Figures()
    number = 500
    # the best of several: this machine has other things to do; an image takes milliseconds
    best = min(timeit.repeat(lambda: everything(figures), number=number, repeat=9))
    assert best / number < 200e-6


def test_a_worker_that_says_nothing_any_more_is_not_well() -> None:
    clock = HandClock()
    figures = Figures(clock)
    assert not figures.well
    figures.able(well=True)
    clock.seconds = 299
    assert figures.well
    clock.seconds = 301
    assert not figures.well
    (well,) = (
        sample.value for metric in figures.collect() for sample in metric.samples if sample.name.endswith("_well")
    )
    assert well == 0
    figures.able(well=True)
    figures.able(well=False)
    assert not figures.well
