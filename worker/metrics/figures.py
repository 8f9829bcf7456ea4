"""What a worker counts about itself while it works; prometheus_client keeps and shows it.

No label holds received text: each is a word of ours, and a transfer syntax or
reason that has none counts as "other". Every count costs a few microseconds
and may come from any thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from core.clock import Clock, SystemClock
from core.metrics.families import Family, program_version
from core.transfer_syntaxes import syntax_name
from db.vocabulary import TERMINAL, ReceiptState
from imaging.reasons import Rejection
from worker.metrics import families

OTHER: Final = "other"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITED: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_IMAGES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Cause(StrEnum):
    """What became of the helper before the one that is started, beside a `Rejection` that it ended with."""

    FIRST = "FIRST"
    """There was none."""
    WORN_OUT = "WORN_OUT"
    """It had read as many images as one may."""
    PEEKED = "PEEKED"
    """It was only to read a header."""
    ENDED = "ENDED"
    """It ended without being asked anything."""


class Failure(StrEnum):
    """Why a start ended without a result, beside a `Rejection`."""

    RECORDING = "RECORDING"
    """The ledger, or our own code, refused what was found out."""


# those that occur; shown as 0 from the start: the rise of a series that did not exist is no rise to Prometheus
_OF_A_HELPER: Final = (Rejection.CRASHED, Rejection.OUT_OF_MEMORY, Rejection.TIMED_OUT)


# longer than an engine waits for the ledger while it writes
_WELL_SECONDS: Final = 300.0


class Figures(Collector):
    """The figures of one worker, from its start.

    Parameters
    ----------
    clock : Clock, optional
        Says when it started, and how long ago an image was received.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        # a counter's time of birth as a metric of its own: `start_time_seconds` says it for all
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library's
        self._clock = clock or SystemClock()
        self._registry = CollectorRegistry()
        self._decode = self._histogram(families.DECODE, SECONDS)
        self._prepare = self._histogram(families.PREPARE, SECONDS)
        self._inference = self._histogram(families.INFERENCE, SECONDS)
        self._batch = self._histogram(families.BATCH, _IMAGES)
        self._commit = self._histogram(families.COMMIT, SECONDS)
        self._waited = self._histogram(families.ACKNOWLEDGED, _WAITED)
        self._finished = self._counter(families.FINISHED, TERMINAL)
        self._quarantined = self._counter(families.QUARANTINED, {*Rejection, OTHER})
        self._attempts = self._counter(families.ATTEMPTS)
        self._failed = self._counter(families.FAILED, {*_OF_A_HELPER, Rejection.INFERENCE_FAILED, *Failure})
        self._host_failed = self._counter(families.HOST_FAILED)
        self._helpers = self._counter(families.HELPERS, {*Cause, *_OF_A_HELPER})
        self._batches_failed = self._counter(families.BATCHES_FAILED)
        self._leases_lost = self._counter(families.LEASES_LOST)
        self._model = self._gauge(families.MODEL)
        self._well = self._gauge(families.WELL)
        self._gauge(families.START_TIME).set(self._clock.now().timestamp())
        self._gauge(families.BUILD).labels(program_version()).set(1)
        self._serving: tuple[str, str] | None = None
        self._well.set_function(lambda: self.well)
        self._well_at = float("-inf")

    def decoded(self, transfer_syntax_uid: str, seconds: float) -> None:
        """Count an image that a helper made a master of."""
        self._decode.labels(syntax_name(transfer_syntax_uid)).observe(seconds)

    def prepared(self, seconds: float) -> None:
        """Count an image whose model input was made."""
        self._prepare.observe(seconds)

    def inferred(self, images: int, seconds: float) -> None:
        """Count a batch that went through the network."""
        self._batch.observe(images)
        self._inference.observe(seconds)

    def batch_failed(self) -> None:
        """Count a batch of several images that the network failed on as a whole."""
        self._batches_failed.inc()

    def attempt_started(self) -> None:
        """Count a start that the ledger has counted."""
        self._attempts.inc()

    def attempt_failed(self, reason: Rejection | Failure) -> None:
        """Count a start without a result."""
        self._failed.labels(reason.value).inc()

    def host_failed(self) -> None:
        """Count a receipt that was given back uncharged."""
        self._host_failed.inc()

    def helper_started(self, cause: Cause | Rejection) -> None:
        """Count a helper by what became of the one before."""
        self._helpers.labels(cause.value).inc()

    def lease_lost(self) -> None:
        """Count a receipt that somebody else has now."""
        self._leases_lost.inc()

    def finished(
        self, state: ReceiptState, commit_seconds: float, received_at: datetime | None, reason: Rejection | None
    ) -> float | None:
        """Count a receipt whose end is committed, and return how long it waited for that.

        Parameters
        ----------
        state : ReceiptState
            Its end.
        commit_seconds : float
            From the begin of its transaction to the commit.
        received_at : datetime or None
            When it was acknowledged, by the listener's clock; None where that says nothing of us.
        reason : Rejection or None
            Why it could not be processed.

        Returns
        -------
        float or None
            Seconds; None without `received_at`.
        """
        self._commit.observe(commit_seconds)
        self._finished.labels(state.value).inc()
        if state is ReceiptState.QUARANTINED:
            self._quarantined.labels(OTHER if reason is None else reason.value).inc()
        if received_at is None:
            return None
        # the clocks of two hosts may differ
        waited = max(0.0, (self._clock.now() - received_at).total_seconds())
        self._waited.observe(waited)
        return waited

    def serving(self, version: str, runtime: str) -> None:
        """Say which model serves now; the words are its manifest's and ours."""
        if self._serving != (version, runtime):
            self._serving = version, runtime
            self._model.clear()
            self._model.labels(version, runtime).set(1)

    @property
    def well(self) -> bool:
        """Whether the worker could work a short while ago; one that hangs says nothing any more."""
        return self._clock.monotonic() - self._well_at < _WELL_SECONDS

    def able(self, *, well: bool) -> None:
        """Say whether the worker can work now."""
        self._well_at = self._clock.monotonic() if well else float("-inf")

    def describe(self) -> Iterator[Metric]:
        """Name what `collect` will show, for scrapers that ask for some of it."""
        yield from self._registry.collect()

    def collect(self) -> Iterator[Metric]:
        """Return every metric as it stands."""
        yield from self._registry.collect()

    def _histogram(self, family: Family, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(family.name, family.help, family.labels, registry=self._registry, buckets=buckets)

    def _counter(self, family: Family, expected: Collection[str] = ()) -> Counter:
        counter = Counter(family.name, family.help, family.labels, registry=self._registry)
        for word in sorted(expected):
            counter.labels(str(word))
        return counter

    def _gauge(self, family: Family) -> Gauge:
        return Gauge(family.name, family.help, family.labels, registry=self._registry)
