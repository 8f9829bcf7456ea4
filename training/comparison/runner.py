"""Every fit of a comparison, one process after the other; what was done before an interruption is not done again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from core.files import make_directories, write_durably
from imaging.instance import ReadingRules
from training.comparison.contenders import Contender, Name, contender
from training.comparison.one_fit import Job
from training.comparison.protocols import Fold, Plan, plan
from training.comparison.protocols import Protocol as Division
from training.comparison.record import Point, Result, read_result
from training.datasets.cache import digest_of
from training.datasets.dataset import Item, open_dataset
from training.errors import FitFailed

_PLAN: Final = "comparison.json"
_LOG: Final = "log.txt"


class Watcher(Protocol):
    """Who is told how far a comparison has come."""

    def fits(self, total: int) -> Callable[[], None]:
        """Hear how many fits there are; returns what to call after each."""
        ...

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        """Begin a stage of so many steps, and end the one before; returns what to call with how many more are done."""
        ...

    def epoch(self, name: str, point: Point) -> None:
        """Hear what an epoch of a fit came to."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What to compare and where to keep it.

    Attributes
    ----------
    out : Path
        Holds work and reports; the same order goes on with what lies there.
    epochs : int or None
        None: the notebook's 20, and the champion's own.
    backbone_weights : str
        See `training.fitting.backbones.fill`.
    rules : ReadingRules, optional
        What DICOM files are held against, see `training.datasets.dataset.open_dataset`.
    """

    data: Path
    out: Path
    protocol: Division
    models: tuple[Name, ...]
    epochs: int | None = None
    folds: int = 5
    backbone_weights: str = "imagenet"
    as_notebook: bool = False
    rules: ReadingRules | None = None

    def options(self, name: Name) -> dict[str, Any]:
        """Return what a contender is made from, as JSON-ready data."""
        return {
            "name": name.value,
            "epochs": self.epochs,
            "backbone_weights": self.backbone_weights,
            "as_notebook": self.as_notebook,
        }


@dataclass(frozen=True)
class Fits:
    """Every fit of a comparison.

    Attributes
    ----------
    results : dict
        By contender, one for each of the plan's folds.
    """

    order: Order
    plan: Plan
    items: tuple[Item, ...]
    contenders: tuple[Contender, ...]
    results: dict[Name, tuple[Result, ...]]


def fit_all(order: Order, watcher: Watcher) -> Fits:
    """Fit every contender on every fold.

    Raises
    ------
    DatasetError, FitFailed
        Saying what to do; what is fitted so far stays.
    """
    with open_dataset(order.data, order.rules) as dataset:
        dataset.require_classes()
        # reads every picture: one that cannot be read is named before anything is written
        step = watcher.stage("look for copies", len(dataset.items))
        divided = plan(order.protocol, dataset, order.folds, advance=lambda: step(1))
        items = dataset.items
    lines = sorted(f"{key}\t{digests.file}" for key, digests in divided.digests.items())
    data_digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    _claim(order, data_digest)
    contenders = tuple(
        contender(name, order.epochs, order.backbone_weights, as_notebook=order.as_notebook) for name in order.models
    )
    done = watcher.fits(len(contenders) * len(divided.folds))
    results: dict[Name, tuple[Result, ...]] = {}
    # those that need weights from elsewhere first: whoever has none learns it before hours are spent on the others
    for one in sorted(contenders, key=lambda one: one.backbone_weights is None):
        found = []
        for fold in divided.folds:
            found.append(_fit(order, one, fold, data_digest, watcher))
            done()
        results[one.name] = tuple(found)
    return Fits(order, divided, items, contenders, results)


def _claim(order: Order, data_digest: str) -> None:
    """Keep two comparisons from mixing in one folder; other models, and other epochs, may join."""
    path = order.out / _PLAN
    mine = {"protocol": order.protocol.value, "data": order.data.name, "data_digest": data_digest}
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        write_durably(path, json.dumps(mine, indent=1).encode())
        return
    except (OSError, ValueError) as error:
        raise FitFailed(f"{path} is damaged; remove {order.out} or choose another --out") from error
    if {**found, "data": None} != {**mine, "data": None}:
        raise FitFailed(f"{order.out} holds a comparison by another protocol or of other data; choose another --out")


def _fit(order: Order, one: Contender, fold: Fold, data_digest: str, watcher: Watcher) -> Result:
    rows = [getattr(fold, part).tolist() for part in ("fit", "tune", "scored")]
    fingerprint = digest_of("fit", data_digest, one.to_dict(), rows)
    # the digest keeps fits of one name with other options apart
    folder = order.out / "fits" / f"{one.name}-{fold.name}-{fingerprint[:8]}"
    if (result := read_result(folder, fingerprint)) is None:
        job = Job(
            order.data.absolute(), order.out.absolute() / "cache", data_digest, fingerprint, one, fold, order.rules
        )
        make_directories(folder)
        write_durably(folder / "job.json", json.dumps(job.to_dict(order.options(one.name))).encode())
        _run(folder.absolute(), f"{one.name} {fold.name}", watcher)
        result = read_result(folder, fingerprint)
    if result is None or len(result.scored) != len(fold.scored):
        raise FitFailed(f"{folder} holds no whole result; remove it to fit {one.name} again")
    return result


def _run(folder: Path, name: str, watcher: Watcher) -> None:
    """Start the process of one fit and listen to it."""
    failure: str | None = None
    step: Callable[[int], None] = lambda _: None  # noqa: E731
    command = [sys.executable, "-m", "training.comparison.one_fit", str(folder), str(os.getpid())]
    with (
        (folder / _LOG).open("ab") as log,
        subprocess.Popen(  # noqa: S603 - our own module
            command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                match _event(line):
                    case {"event": "stage", "name": str(stage), "total": int(total)}:
                        step = watcher.stage(f"{name}: {stage}", total)
                    case {"event": "step", "count": int(count)}:
                        step(count)
                    case {"event": "epoch", **facts}:
                        watcher.epoch(name, Point(**facts))
                    case {"event": "failed", "message": str(message)}:
                        failure = message
        except BaseException:
            process.terminate()
            raise
    status = process.returncode
    if failure is not None:
        raise FitFailed(failure)
    if status != 0:
        ended = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        raise FitFailed(
            f"the process that fitted {name} ended {ended}; what it said is in {folder / _LOG}. "
            "The same command goes on where it stopped"
        )


def _event(line: str) -> dict[str, Any]:
    """Read a line; the last one of a process that was killed may be cut short."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return event
