"""What the workers of each host did lately, from their heartbeats; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cli.health import alive
from core.settings import Settings
from db.report import ProcessRow
from db.vocabulary import ProcessKind
from db.worker_figures import Timing, WorkerFigures


@dataclass(frozen=True, slots=True)
class DecodeNow:
    """Images decoded lately in one transfer syntax, and how long one took, milliseconds."""

    images: int
    ms: float | None


@dataclass(frozen=True, slots=True)
class HostNow:
    """The workers that live on one host; None where nothing was done in their last minutes.

    Attributes
    ----------
    host : str
        As it calls itself.
    workers : int
        Alive.
    models : tuple of str
        What they serve; more than one while a new champion is taken up.
    images_a_minute : float
        Receipts brought to their end.
    batch : float or None
        Images in a batch.
    prepare_ms, inference_ms, commit_ms : float or None
        Mean of an image, a batch, a receipt.
    waited_95_seconds : float or None
        From acknowledgement to row, what 95 % took at most with the slowest worker.
    decode : dict of str to DecodeNow
        By transfer syntax keyword.
    attempts_failed, quarantined, helpers_replaced : dict of str to int
        Since these workers started, by reason.
    batches_failed, leases_lost, host_failures : int
        Since then.
    """

    host: str
    workers: int
    models: tuple[str, ...]
    images_a_minute: float
    batch: float | None
    prepare_ms: float | None
    inference_ms: float | None
    commit_ms: float | None
    waited_95_seconds: float | None
    decode: dict[str, DecodeNow]
    attempts_failed: dict[str, int]
    quarantined: dict[str, int]
    helpers_replaced: dict[str, int]
    batches_failed: int
    leases_lost: int
    host_failures: int


def workers_now(processes: Iterable[ProcessRow], settings: Settings) -> list[HostNow]:
    """Return what the living workers did, host by host."""
    living = [one for one in processes if one.kind is ProcessKind.WORKER and alive(one, settings)]
    living.sort(key=lambda one: one.host)
    return [_host(host, list(group)) for host, group in groupby(living, lambda one: one.host)]


def decoded(hosts: Iterable[HostNow]) -> dict[str, DecodeNow]:
    """Put the hosts' decoding together, by transfer syntax."""
    timings: list[Mapping[str, Timing]] = [
        {syntax: Timing(one.images, one.images * (one.ms or 0.0) / 1000) for syntax, one in host.decode.items()}
        for host in hosts
    ]
    return _decode(timings)


def _host(host: str, workers: Sequence[ProcessRow]) -> HostNow:
    all_of_them = [one.figures for one in workers if one.figures is not None]
    inference = _sum(all_of_them, lambda one: one.inference)
    batched = sum(one.batched for one in all_of_them)
    return HostNow(
        host=host,
        workers=len(workers),
        models=tuple(sorted({one.model for one in workers if one.model is not None})),
        images_a_minute=round(sum(60 * one.finished / one.over_seconds for one in all_of_them if one.over_seconds), 1),
        batch=round(batched / inference.count, 1) if inference.count else None,
        prepare_ms=_ms(_sum(all_of_them, lambda one: one.prepare)),
        inference_ms=_ms(inference),
        commit_ms=_ms(_sum(all_of_them, lambda one: one.commit)),
        waited_95_seconds=max((one.waited_95 for one in all_of_them if one.waited_95 is not None), default=None),
        decode=_decode([one.decode for one in all_of_them]),
        attempts_failed=_counts(one.attempts_failed for one in all_of_them),
        quarantined=_counts(one.quarantined for one in all_of_them),
        helpers_replaced=_counts(one.helpers_replaced for one in all_of_them),
        batches_failed=sum(one.batches_failed for one in all_of_them),
        leases_lost=sum(one.leases_lost for one in all_of_them),
        host_failures=sum(one.host_failures for one in all_of_them),
    )


def _sum(figures: Iterable[WorkerFigures], of: Callable[[WorkerFigures], Timing]) -> Timing:
    return Timing.sum(of(one) for one in figures)


def _decode(timings: Sequence[Mapping[str, Timing]]) -> dict[str, DecodeNow]:
    found: dict[str, DecodeNow] = {}
    for syntax in sorted({syntax for one in timings for syntax in one}):
        whole = Timing.sum(one[syntax] for one in timings if syntax in one)
        found[syntax] = DecodeNow(whole.count, _ms(whole))
    return found


def _ms(timing: Timing) -> float | None:
    return None if timing.mean is None else round(1000 * timing.mean, 1)


def _counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total.most_common())
