"""Everything one run measured, kept as JSON, and brought together over its repetitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.figures import Spread, percentile, spread
from bench.idle import Idle
from bench.measure import Trial


@dataclass(frozen=True, slots=True)
class Results:
    """The raw figures of a run.

    Attributes
    ----------
    date : str
        When it began.
    machine : dict
        See `bench.machine.facts`.
    """

    date: str
    machine: dict[str, str]
    trials: list[Trial]
    idle: list[Idle]

    @property
    def sizes(self) -> list[int]:
        """Megabytes of the objects, largest first."""
        return sorted({trial.megabytes for trial in self.trials}, reverse=True)

    @property
    def associations(self) -> list[int]:
        """How many associations at once, ascending."""
        return sorted({trial.associations for trial in self.trials})

    def of(self, receiver: str, megabytes: int, associations: int) -> list[Trial]:
        """Return the repetitions of one trial, in order."""
        wanted = (receiver, megabytes, associations)
        found = [one for one in self.trials if (one.receiver, one.megabytes, one.associations) == wanted]
        return sorted(found, key=lambda trial: trial.repetition)


@dataclass(frozen=True, slots=True)
class Summary:
    """One receiver under one load, over all repetitions.

    Attributes
    ----------
    rate, cpu_milliseconds : Spread
        See `Trial`.
    p95_seconds : float or None
        Over the images of all repetitions; None if none was acknowledged.
    proportional_peak, resident_peak : int
        Largest of all repetitions, bytes.
    images, errors : int
        In all repetitions.
    """

    rate: Spread
    cpu_milliseconds: Spread
    p95_seconds: float | None
    proportional_peak: int
    resident_peak: int
    images: int
    errors: int


def summarise(trials: Sequence[Trial]) -> Summary:
    """Bring the repetitions of one trial together.

    Raises
    ------
    ValueError
        If there are none.
    """
    seconds = [value for trial in trials for value in trial.seconds]
    return Summary(
        rate=spread([trial.rate for trial in trials]),
        cpu_milliseconds=spread([trial.cpu_milliseconds for trial in trials]),
        p95_seconds=percentile(seconds, 0.95) if seconds else None,
        proportional_peak=max(trial.proportional_peak for trial in trials),
        resident_peak=max(trial.resident_peak for trial in trials),
        images=sum(trial.images for trial in trials),
        errors=sum(sum(trial.errors.values()) for trial in trials),
    )


def save(results: Results, path: Path) -> None:
    """Write as JSON, one trial a line, so that two runs can be compared by eye."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = ",\n".join(json.dumps(asdict(trial)) for trial in results.trials)
    idle = ",\n".join(json.dumps(asdict(one)) for one in results.idle)
    start = json.dumps({"date": results.date, "machine": results.machine}, indent=1)
    path.write_text(f'{start.rstrip("}").rstrip()},\n"trials": [\n{trials}\n],\n"idle": [\n{idle}\n]}}\n')


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    raw = json.loads(path.read_text())
    return Results(
        raw["date"],
        raw["machine"],
        [Trial(**trial) for trial in raw["trials"]],
        [Idle(**one) for one in raw["idle"]],
    )
