"""The working folder of one fit of a comparison: how far it has come, and what it came to."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from core.files import make_directories, write_durably
from training.errors import FitFailed

_PROGRESS: Final = "progress.json"
_RESULT: Final = "result.json"


@dataclass(frozen=True, slots=True)
class Point:
    """One epoch on the curves.

    Attributes
    ----------
    accuracy : float or None
        None where a recipe does not measure it.
    seconds, processor_seconds : float
        On the wall's clock, and of all threads on processors.
    """

    number: int
    loss: float
    accuracy: float | None
    scored_loss: float
    scored_accuracy: float
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of a network's summary."""

    kind: str
    shape: str
    parameters: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many a network has."""

    total: int
    trainable: int
    frozen: int


@dataclass(frozen=True, slots=True)
class Result:
    """What one fit came to.

    Attributes
    ----------
    tuned, scored : tuple of float
        The network's output for PNEUMONIA, in the order of the fold's rows.
    seconds, processor_seconds : float
        Of all epochs, the scoring of curves included: on the wall's clock, and on processors, which does not depend on
        what else the machine did.
    preparation_seconds, preparation_processor_seconds : float
        Of making features of a frozen backbone; nearly nothing where another fit had made them.
    peak_memory : int
        Largest resident set of the process that fitted, bytes.
    """

    points: tuple[Point, ...]
    tuned: tuple[float, ...]
    scored: tuple[float, ...]
    seconds: float
    processor_seconds: float
    preparation_seconds: float
    preparation_processor_seconds: float
    peak_memory: int
    parameters: Parameters
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Record:
    """A fit in progress.

    Weights are written first and `progress.json` names them afterwards, so a
    kill at any moment leaves a state to go on from.
    """

    folder: Path
    fingerprint: str
    points: tuple[Point, ...] = ()
    preparation_seconds: float = 0.0
    preparation_processor_seconds: float = 0.0
    peak_memory: int = 0

    @classmethod
    def open(cls, folder: Path, fingerprint: str) -> Self:
        """Return what is recorded, or a new beginning.

        Raises
        ------
        FitFailed
            If the folder belongs to another fit, or cannot be read.
        """
        path = folder / _PROGRESS
        if not path.exists():
            return cls(folder, fingerprint)
        try:
            state = json.loads(path.read_text())
            points = tuple(Point(**point) for point in state.pop("points"))
            found = cls(folder, points=points, **state)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FitFailed(f"{path} is damaged; remove {folder} to fit this one again") from error
        if found.fingerprint != fingerprint:
            raise FitFailed(f"{folder} holds a fit of another make or of other data; choose another --out")
        return found

    @property
    def work(self) -> Path:
        """Where a recipe of our own keeps what it goes on from."""
        return self.folder / "run"

    def weights(self, number: int) -> Path:
        """Where the weights after an epoch lie, optimiser state included."""
        return self.folder / f"epoch-{number:03}.weights.h5"

    def after(self, point: Point, peak_memory: int) -> Record:
        """Record an epoch whose weights are written; those of earlier epochs go."""
        with self.weights(point.number).open("rb") as stream:
            os.fsync(stream.fileno())
        grown = replace(self, points=(*self.points, point), peak_memory=max(self.peak_memory, peak_memory))
        grown.write()
        for path in self.folder.glob("epoch-*.weights.h5"):
            if path != self.weights(point.number):
                path.unlink()
        return grown

    def write(self) -> None:
        """Write the record."""
        make_directories(self.folder)
        state = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_durably(self.folder / _PROGRESS, json.dumps(state, indent=1).encode())

    def finish(self, result: Result) -> None:
        """Write what the fit came to; the weights have served."""
        state = {"fingerprint": self.fingerprint, **asdict(result)}
        write_durably(self.folder / _RESULT, json.dumps(state).encode())
        for path in self.folder.glob("epoch-*"):
            path.unlink()
        shutil.rmtree(self.work, ignore_errors=True)


def read_result(folder: Path, fingerprint: str) -> Result | None:
    """Return what a fit came to, or None if it has not ended.

    Raises
    ------
    FitFailed
        If the folder belongs to another fit, or cannot be read.
    """
    path = folder / _RESULT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        found = state.pop("fingerprint")
        result = Result(
            points=tuple(Point(**point) for point in state.pop("points")),
            tuned=tuple(state.pop("tuned")),
            scored=tuple(state.pop("scored")),
            parameters=Parameters(**state.pop("parameters")),
            layers=tuple(Layer(**layer) for layer in state.pop("layers")),
            **state,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FitFailed(f"{path} is damaged; remove {folder} to fit this one again") from error
    if found != fingerprint:
        raise FitFailed(f"{folder} holds a fit of another make or of other data; choose another --out")
    return result
