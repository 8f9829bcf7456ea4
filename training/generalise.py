"""What holds for other patients' normals: leave one style of normals out at a time, and judge on it.

Cross-validation by patient looks superb on this collection, because frame, letters and sharpness run through
all folds. Here the normals are grouped by how they are framed, one whole group is kept from fitting and from
setting the threshold, and the model has to tell it from pneumonias of patients it has not met either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import POSITIVE
from core.files import write_durably
from training import calibrate, operating_point
from training.datasets import LABELS
from training.errors import FitFailed
from training.fit import fit
from training.hardened import fit_hardened
from training.metrics import figures
from training.patients import PUBLIC_KEY, patient_digest
from training.pixels import Examples, Squares
from training.recipe import AnyRecipe, HardenedRecipe, Recipe
from training.run import Epoch, Run
from training.score import scored
from training.styles import STYLES, frames, styles

_CHOOSING_SHARE: Final = 0.15
_BATCH: Final = 64
_NAMES: Final = ("auc", "accuracy", "sensitivity", "specificity", "average_precision", "brier", "ece")


@dataclass(frozen=True)
class Fold:
    """Rows of the images by use; a patient is in one of the three.

    Attributes
    ----------
    number : int
        Of the style of normals left out.
    fitted, choosing, judged : ndarray of int64
        Fitted on; watched, calibrated and thresholded on; scored.
    """

    number: int
    fitted: NDArray[np.int64]
    choosing: NDArray[np.int64]
    judged: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a recipe came to on one style of normals it never met.

    Attributes
    ----------
    normals, pneumonias : int
        Images judged.
    threshold : float
        Set without them.
    metrics : dict of str to float
        Figures as in `training.metrics.figures`.
    seconds : float
        Of fitting.
    """

    fold: int
    normals: int
    pneumonias: int
    threshold: float
    metrics: dict[str, float]
    seconds: float


def folds(squares: Squares, count: int = STYLES) -> tuple[Fold, ...]:
    """Split images by style of normals and patients with pneumonia.

    Parameters
    ----------
    squares : Squares
        Everything but the frozen test share.
    count : int
        How many styles; each fold judges one, and as large a share of the patients with pneumonia.

    Returns
    -------
    tuple of Fold
        The largest style first. A patient's normals all go where most of them lie.

    Raises
    ------
    FitFailed
        If there are fewer normal patients than styles.
    """
    normal = squares.labels == 0
    place = np.full(len(squares), -1)
    rows = np.flatnonzero(normal)
    found = styles(frames(squares.planes[rows]), count)
    for patient in np.unique(squares.patients):
        own = squares.patients == patient
        if (own & normal).any():
            place[own] = np.bincount(found[np.isin(rows, np.flatnonzero(own & normal))]).argmax()
        else:
            place[own] = int(_position(_name(squares, own), "style") * count)
    if len(np.unique(place[normal])) < count:
        raise FitFailed(f"the normals do not fall into {count} styles of frame; use more data")
    choosing = np.array([_position(item.patient, "choosing") < _CHOOSING_SHARE for item in squares.items])
    return tuple(
        Fold(
            number,
            np.flatnonzero((place != number) & ~choosing),
            np.flatnonzero((place != number) & choosing),
            np.flatnonzero(place == number),
        )
        for number in range(count)
    )


def _name(squares: Squares, own: NDArray[np.bool_]) -> str:
    return squares.items[int(np.flatnonzero(own)[0])].patient


def _position(patient: str, purpose: str) -> float:
    """Return a number from 0 to 1 that depends on the patient alone."""
    digest = hashlib.sha256(f"{purpose}:{patient_digest(patient, PUBLIC_KEY)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def leave_out(
    recipe: AnyRecipe,
    squares: Squares,
    folder: Path,
    required_sensitivity: float = operating_point.REQUIRED_SENSITIVITY,
    report: Callable[[int, Epoch | Judged], None] = lambda _fold, _news: None,
) -> tuple[Judged, ...]:
    """Fit and judge fold by fold; interrupted, the same call goes on where it stopped.

    Parameters
    ----------
    folder : Path
        Working folder; finished folds stay there as ``fold-N.json``.
    report : callable
        Called after each epoch and each fold.

    Raises
    ------
    FitFailed
        If a fit fails, or the folder holds another recipe or other data.
    """
    found = []
    for fold in folds(squares):
        path = folder / f"fold-{fold.number}.json"
        fingerprint = recipe.fingerprint(_digest(squares, fold), recipe.spec.digest())
        if path.exists():
            state = json.loads(path.read_text())
            if state.pop("fingerprint") != fingerprint:
                raise FitFailed(f"{path} is of another recipe or other data; remove it or choose another folder")
            judged = Judged(**state)
        else:
            run = Run.start_or_resume(folder / f"fold-{fold.number}", fingerprint)
            network, seconds = _fitted(recipe, run, fingerprint, squares, fold, report)
            judged = _judged(recipe, network, squares, fold, required_sensitivity=required_sensitivity, seconds=seconds)
            write_durably(path, json.dumps({"fingerprint": fingerprint, **asdict(judged)}, indent=1).encode())
        report(fold.number, judged)
        found.append(judged)
    return tuple(found)


def _fitted(  # noqa: PLR0917 - one call, all of it passed on
    recipe: AnyRecipe,
    run: Run,
    fingerprint: str,
    squares: Squares,
    fold: Fold,
    report: Callable[[int, Epoch | Judged], None],
) -> tuple[Any, float]:
    train, watch = squares.only(fold.fitted), squares.only(fold.choosing).finished(recipe.spec)

    def tell(epoch: Epoch) -> None:
        report(fold.number, epoch)

    match recipe:
        case Recipe():
            network = fit(recipe, run, fingerprint, train.finished(recipe.spec), watch, report=tell)
        case HardenedRecipe():
            network = fit_hardened(recipe, recipe.spec, run, fingerprint, train, watch, report=tell)
    done = Run.start_or_resume(run.folder, fingerprint)
    return network, sum(epoch.seconds for epoch in done.epochs)


def _judged(
    recipe: AnyRecipe, network: Any, squares: Squares, fold: Fold, *, required_sensitivity: float, seconds: float
) -> Judged:
    def scores(rows: NDArray[np.int64]) -> tuple[Examples, NDArray[np.float64]]:
        part = squares.only(rows).finished(recipe.spec)
        columns = network.predict(part.inputs(slice(None)), batch_size=_BATCH, verbose=0)
        return part, np.asarray(columns, np.float64)[:, LABELS.index(POSITIVE)]

    chosen, raw = scores(fold.choosing)
    calibration = calibrate.platt(chosen.labels, raw)
    point, _ = operating_point.choose(scored(chosen, raw, calibration), required_sensitivity)
    judged, raw = scores(fold.judged)
    metrics = figures(scored(judged, raw, calibration), point.threshold)
    return Judged(
        fold.number,
        int((judged.labels == 0).sum()),
        int((judged.labels == 1).sum()),
        point.threshold,
        {name: round(metrics[name], 5) for name in _NAMES},
        round(seconds, 1),
    )


def _digest(squares: Squares, fold: Fold) -> str:
    """Return what tells the fold's data from other data."""
    digest = hashlib.sha256()
    for rows in (fold.fitted, fold.choosing, fold.judged):
        digest.update(np.ascontiguousarray(squares.planes[rows]).tobytes())
        digest.update(squares.labels[rows].tobytes())
    return digest.hexdigest()
