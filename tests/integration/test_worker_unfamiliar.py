"""What a worker makes of images unlike the training data, and what of that the ledger keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy.orm import Session, sessionmaker

from bundle.head import Head
from bundle.runtime import Seen
from core.settings import Settings
from db.vocabulary import Outcome
from tests.factories import dicom_objects as objects
from tests.factories.bundles import familiarity
from tests.integration.worker_kit import RULES, Bench, StubRuntime, always
from worker.lanes import Lanes

HEAD = Head(np.ones(1, np.float32), 0.0, 1.0)


class Seeing(StubRuntime):
    """Gives a map that is a ramp, whatever it is shown."""

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        ramp = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1) / 3
        return Seen(self.predict(inputs), np.repeat(ramp, len(inputs), axis=0))


@pytest.fixture
def worker(ledger_settings: Settings, sessions: sessionmaker[Session], lanes: Lanes) -> Bench:
    return Bench(ledger_settings, sessions, always(0.1), lanes)


def knowing(worker: Bench, threshold: float) -> Bench:
    """Let the worker serve a model that knows other things than chests, from this threshold on."""
    stamp = replace(worker.serving.stamp, rules=replace(RULES, unfamiliar_from=threshold))
    runtime = Seeing(worker.runtime.predict_with)
    worker.serving = replace(worker.serving, runtime=runtime, stamp=stamp, familiarity=familiarity(), head=HEAD)
    return worker


def test_an_unfamiliar_image_never_reads_not_suspected(worker: Bench) -> None:
    knowing(worker, 1.5)
    worker.deliver(objects.phantom())
    worker.run()
    (image,) = worker.images()
    assert (image.outcome, image.reason) == (Outcome.NO_RESULT, "UNFAMILIAR")
    assert worker.open_flags() == [("NO_RESULT", "UNFAMILIAR"), ("UNFAMILIAR", None)]
    (row,) = worker.predictions()
    assert row.unfamiliarity is not None
    assert row.unfamiliarity > 1.5 == row.unfamiliarity_threshold
    assert row.score == pytest.approx(0.1)
    assert row.heat == [[0.0, 0.3333], [0.6667, 1.0]]


def test_a_familiar_image_is_judged_by_its_score(worker: Bench) -> None:
    knowing(worker, 1e6)
    worker.deliver(objects.phantom())
    worker.run()
    (row,) = worker.predictions()
    assert row.outcome is Outcome.NOT_SUSPECTED
    assert row.unfamiliarity is not None
    assert row.unfamiliarity < row.unfamiliarity_threshold == 1e6
    assert worker.open_flags() == []


def test_an_unfamiliarity_that_is_no_number_never_reassures(worker: Bench) -> None:
    class Lost:
        def unfamiliarity(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.full(len(inputs), np.nan)

    knowing(worker, 1e6)
    worker.serving = replace(worker.serving, familiarity=Lost())
    worker.deliver(objects.phantom())
    worker.run()
    (row,) = worker.predictions()
    assert (row.outcome, row.reason) == (Outcome.NO_RESULT, "UNFAMILIAR")
    assert (row.unfamiliarity, row.unfamiliarity_threshold) == (None, 1e6)


def test_a_bundle_of_old_leaves_the_columns_empty(worker: Bench) -> None:
    worker.deliver(objects.phantom())
    worker.run()
    (row,) = worker.predictions()
    assert row.outcome is Outcome.NOT_SUSPECTED
    assert (row.unfamiliarity, row.unfamiliarity_threshold, row.heat) == (None, None, None)


def test_a_corrected_header_keeps_what_was_measured(worker: Bench) -> None:
    knowing(worker, 1.5)
    dataset = objects.phantom()
    worker.deliver(dataset)
    worker.run()
    dataset.AccessionNumber = "CORRECTED"
    worker.deliver(dataset)
    worker.run()
    first, second = worker.predictions()
    assert (first.unfamiliarity, first.unfamiliarity_threshold) == (
        second.unfamiliarity,
        second.unfamiliarity_threshold,
    )
    assert second.heat == first.heat
    assert second.image_revision == 2
