"""The working folder of one fit: what is needed to go on after a crash, and how far it has come."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from core import failpoints
from core.files import make_directories, write_durably
from training.errors import FitFailed
from training.fitting.averaging import Average
from training.fitting.weights import save_weights

PROGRESS: Final = "progress.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the data came to; losses weigh both classes alike.

    Attributes
    ----------
    seconds : float
        On the wall's clock.
    learning_rate : float or None
        At the epoch's end; None in records that are older than it.
    processor_seconds : float or None
        Of all threads; None likewise.
    """

    number: int
    loss: float
    watch_loss: float
    watch_accuracy: float
    seconds: float
    learning_rate: float | None = None
    processor_seconds: float | None = None


def recorded(folder: Path) -> tuple[Epoch, ...]:
    """Return the epochs that a working folder tells of; none where it is not there or damaged."""
    try:
        return tuple(Epoch(**epoch) for epoch in json.loads((folder / PROGRESS).read_text())["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


@dataclass(frozen=True)
class Run:
    """A fit in progress.

    Weights are written first and `progress.json` names them afterwards, so a
    crash at any moment leaves a state to go on from.
    """

    folder: Path
    epochs: tuple[Epoch, ...]

    @classmethod
    def start_or_resume(cls, folder: Path, fingerprint: str) -> Self:
        """Open the working folder of a fit.

        Raises
        ------
        FitFailed
            If it belongs to another recipe or other data, or cannot be read.
        """
        progress = folder / PROGRESS
        if not progress.exists():
            make_directories(folder)
            run = cls(folder, ())
            run._write(fingerprint)
            return run
        try:
            state = json.loads(progress.read_text())
            found = state["fingerprint"]
            epochs = tuple(Epoch(**epoch) for epoch in state["epochs"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FitFailed(f"{progress} is damaged; remove {folder} to start again") from error
        if found != fingerprint:
            raise FitFailed(
                f"{folder} holds a run with another recipe, other data, other preprocessing or another precision; "
                "remove it or choose another --out"
            )
        return cls(folder, epochs)

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest loss on the watched patients."""
        return min(self.epochs, key=lambda epoch: (epoch.watch_loss, epoch.number))

    def weights(self, number: int) -> Path:
        """Where the weights after an epoch lie, optimiser state included."""
        return self.folder / f"epoch-{number:03}.weights.h5"

    def average(self, number: int) -> Path:
        """Where the averaged weights after an epoch lie, for recipes that average."""
        return self.folder / f"epoch-{number:03}.average.npz"

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether nothing is left to do."""
        return bool(self.epochs) and (
            len(self.epochs) >= epochs or self.epochs[-1].number - self.best.number >= patience
        )

    def keep(self, number: int, model: Any, average: Average | None = None) -> None:
        """Write what an epoch came to, each file whole or not at all.

        Parameters
        ----------
        number : int
            Of the epoch.
        model : keras.Model
            With its optimiser.
        average : Average, optional
            For recipes that average.

        Raises
        ------
        FitFailed
            If the disk refuses; what earlier epochs came to stands.
        """
        try:
            save_weights(model, self.weights(number))
            if average is not None:
                average.write(self.average(number))
        except OSError as error:
            raise FitFailed(
                f"{self.folder}: epoch {number} could not be written ({error.strerror}); make room and run the same "
                "command again, it goes on after the epoch before"
            ) from error

    def after(self, epoch: Epoch, fingerprint: str) -> Run:
        """Record an epoch whose weights are written, and drop weights that are neither best nor latest.

        Raises
        ------
        FitFailed
            If the disk refuses.
        """
        grown = Run(self.folder, (*self.epochs, epoch))
        grown._write(fingerprint)
        failpoints.reach("fit.epoch_kept")
        keep = {f"epoch-{number:03}" for number in (grown.best.number, epoch.number)}
        for path in self.folder.glob("epoch-*"):
            if path.name.partition(".")[0] not in keep:
                path.unlink()
        return grown

    def _write(self, fingerprint: str) -> None:
        state = {"fingerprint": fingerprint, "epochs": [asdict(epoch) for epoch in self.epochs]}
        progress = self.folder / PROGRESS
        try:
            write_durably(progress, json.dumps(state, indent=1).encode())
        except OSError as error:
            raise FitFailed(f"{progress} could not be written: {error.strerror}; make room and run it again") from error
