"""What a worker says of its work in its heartbeat: few numbers, so that one screen can show every host's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class Timing:
    """How often something was done, and how long all of it took, seconds."""

    count: int = 0
    seconds: float = 0.0

    @property
    def mean(self) -> float | None:
        """Seconds each; None where it was never done."""
        return self.seconds / self.count if self.count else None

    @classmethod
    def sum(cls, timings: Iterable[Timing]) -> Self:
        """Add up."""
        listed = list(timings)
        return cls(sum(one.count for one in listed), sum(one.seconds for one in listed))


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """A worker's last minutes, and what went wrong since its start. No field holds received text.

    Attributes
    ----------
    over_seconds : float
        How far back the figures of the last minutes reach: less than five minutes after a start.
    finished : int
        Receipts brought to their end in that time.
    decode : dict of str to Timing
        Images decoded, by transfer syntax keyword.
    prepare, inference, commit : Timing
        Images prepared, batches in the network, receipts committed.
    batched : int
        Images in these batches.
    waited : Timing
        From acknowledgement to committed row.
    waited_95 : float or None
        Seconds that 95 % of them took at most, estimated from a histogram.
    attempts_failed, quarantined, helpers_replaced : dict of str to int
        Since the start, by reason.
    batches_failed, leases_lost, host_failures : int
        Since the start.
    """

    over_seconds: float = 0.0
    finished: int = 0
    decode: dict[str, Timing] = field(default_factory=dict)
    prepare: Timing = Timing()
    inference: Timing = Timing()
    batched: int = 0
    commit: Timing = Timing()
    waited: Timing = Timing()
    waited_95: float | None = None
    attempts_failed: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    helpers_replaced: dict[str, int] = field(default_factory=dict)
    batches_failed: int = 0
    leases_lost: int = 0
    host_failures: int = 0


_JSON: Final = TypeAdapter(WorkerFigures)


def to_json(figures: WorkerFigures) -> dict[str, Any]:
    """Return what the heartbeat's column holds."""
    kept: dict[str, Any] = _JSON.dump_python(figures, mode="json")
    return kept


def from_json(kept: dict[str, Any] | None) -> WorkerFigures | None:
    """Read it again; None where there is none, or where another release wrote what this one does not understand."""
    if kept is None:
        return None
    try:
        return _JSON.validate_python(kept)
    except ValidationError:
        return None
