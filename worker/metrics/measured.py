"""A runtime whose batches are counted, whoever asks it: the journey or re-scoring."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bundle.runtime import Runtime, Seen
from worker.metrics.figures import Figures
from worker.serving import Serving


class Measured:
    """A runtime, and the clock beside it.

    Parameters
    ----------
    runtime : Runtime
        What scores.
    figures : Figures
        Where it is counted.
    """

    def __init__(self, runtime: Runtime, figures: Figures) -> None:
        self._runtime = runtime
        self._figures = figures

    @property
    def name(self) -> str:
        """The runtime's."""
        return self._runtime.name

    @property
    def batches_pay(self) -> bool:
        """The runtime's."""
        return self._runtime.batches_pay

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score images; see `bundle.runtime.Runtime.predict`."""
        with self._counted(len(inputs)):
            return self._runtime.predict(inputs)

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        """Score images and give the features; see `bundle.runtime.Runtime.look`."""
        with self._counted(len(inputs)):
            return self._runtime.look(inputs)

    @contextmanager
    def _counted(self, images: int) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except Exception:
            # of one that failed by itself the attempt is counted
            if images > 1:
                self._figures.batch_failed()
            raise
        self._figures.inferred(images, time.perf_counter() - began)


def measured(serving: Serving, figures: Figures) -> Serving:
    """Return the same model, counted."""
    return replace(serving, runtime=Measured(serving.runtime, figures))
