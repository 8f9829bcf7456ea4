"""How a model stands what should not matter to it: frame, sharpness, compression, exposure, letters, position.

Each distortion is done to the first square of an image (`imaging.spec.PreprocessSpec.square`), before the
bundle's own preprocessing, so any bundle can be put through it and two of them compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bundle.manifest import Interval
from bundle.runtime import Runtime
from imaging.master import FULL_SCALE
from imaging.spec import PreprocessSpec
from training.datasets.dataset import LABELS
from training.datasets.pixels import Squares
from training.errors import DatasetError
from training.examination.metrics import Scored, figures, interval_of, patient_weights
from training.fitting.disguise import Plane, compressed, gaussian

UNCHANGED: Final = "unchanged"
# Of each side: an outer eighth all round, which alone tells the classes apart at an AUC of 0.975.
_FRAME: Final = 0.125
_BATCH: Final = 64
_NAMES: Final = ("auc", "sensitivity", "specificity")
_EDGE: Final = 1e-7


class Distortion(Protocol):
    """What is done to one image."""

    def __call__(self, plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
        """Distort.

        Parameters
        ----------
        plane : ndarray of float32, shape (side, side)
            0 to 1.
        lender : ndarray of float32, shape (side, side)
            An image of the other class.
        rng : numpy.random.Generator
            The only source of chance, begun anew for each image.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stressed:
    """A model's figures under one distortion, with 95 % intervals by resampling patients.

    Attributes
    ----------
    auc : Interval
        Area under the ROC curve.
    auc_change : Interval
        Against the unchanged images of the same patients.
    sensitivity, specificity : Interval
        At the model's operating point, which stays where it is.
    moved : float
        Median of how far the score's log-odds moved.
    """

    name: str
    auc: Interval
    auc_change: Interval
    sensitivity: Interval
    specificity: Interval
    moved: float


def _inside(side: int) -> slice:
    margin = round(side * _FRAME)
    return slice(margin, side - margin)


def frame_masked(plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
    """Cover the outer eighth with the mean of the rest."""
    del lender, rng
    inside = _inside(len(plane))
    masked = np.full_like(plane, plane[inside, inside].mean())
    masked[inside, inside] = plane[inside, inside]
    return masked


def frame_only(plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
    """Cover all but the outer eighth with the frame's mean: what is told now is not told by lungs."""
    del lender, rng
    inside = _inside(len(plane))
    frame = np.ones(plane.shape, bool)
    frame[inside, inside] = False
    only = plane.copy()
    only[inside, inside] = plane[frame].mean()
    return only


def frame_of_the_other_class(plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
    """Put the outer eighth of an image of the other class around the middle."""
    del rng
    inside = _inside(len(plane))
    framed = lender.copy()
    framed[inside, inside] = plane[inside, inside]
    return framed


def _blur(radius: float) -> Distortion:
    return lambda plane, _lender, _rng: gaussian(plane, radius)


def _jpeg(quality: int) -> Distortion:
    return lambda plane, _lender, _rng: compressed(plane, quality)


def _gamma(power: float) -> Distortion:
    return lambda plane, _lender, _rng: np.clip(plane, 0, 1) ** np.float32(power)


def _exposure(factor: float) -> Distortion:
    return lambda plane, _lender, _rng: np.clip(plane * np.float32(factor), 0, 1)


def _rotation(degrees: float) -> Distortion:
    def rotate(plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
        del lender, rng
        image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        turned = image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=float(plane.mean()))
        return np.asarray(turned, np.float32)

    return rotate


def letters(plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
    """Paste two bright letters into the upper corners or beside the chest."""
    del lender
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    draw, side = ImageDraw.Draw(image), len(plane)
    font = ImageFont.load_default(size=round(0.08 * side))
    for text, left in (("R", rng.uniform(0.02, 0.2)), ("AP", rng.uniform(0.75, 0.88))):
        draw.text((left * side, rng.uniform(0.02, 0.6) * side), text, fill=1.0, font=font)
    return np.asarray(image, np.float32)


DISTORTIONS: Final[dict[str, Distortion]] = {
    UNCHANGED: lambda plane, _lender, _rng: plane,
    "frame masked": frame_masked,
    "frame only": frame_only,
    "frame of the other class": frame_of_the_other_class,
    "blur 1 px": _blur(1.0),
    "blur 2 px": _blur(2.0),
    "JPEG 60": _jpeg(60),
    "JPEG 30": _jpeg(30),
    "gamma 0.7": _gamma(0.7),
    "gamma 1.4": _gamma(1.4),
    "exposure x 0.6": _exposure(0.6),
    "exposure x 1.3": _exposure(1.3),
    "letters pasted": letters,
    "rotated 10 left": _rotation(10),
    "rotated 10 right": _rotation(-10),
}


def stress(  # noqa: PLR0917 - a model is spec, runtime and threshold
    spec: PreprocessSpec,
    runtime: Runtime,
    threshold: float,
    squares: Squares,
    distortions: dict[str, Distortion] = DISTORTIONS,
    advance: Callable[[], None] = lambda: None,
    resamples: int = 1000,
) -> tuple[Stressed, ...]:
    """Score distorted images.

    Parameters
    ----------
    spec : PreprocessSpec
        The bundle's; `squares` are of its `triangle_size`.
    threshold : float
        The bundle's operating point.
    squares : Squares
        Images of both classes the model was not fitted on.
    distortions : dict of str to Distortion
        By name; the unchanged images are scored in any case.
    advance : callable
        Called after each distortion.
    resamples : int
        Of patients, for the intervals.

    Returns
    -------
    tuple of Stressed
        The unchanged images first.

    Raises
    ------
    DatasetError
        If a class is missing.
    """
    if len(np.unique(squares.labels)) < len(LABELS):
        raise DatasetError(f"a stress table needs images of both classes ({', '.join(LABELS)}); score another split")
    plain = _scores(spec, runtime, squares, DISTORTIONS[UNCHANGED])
    before = _figures(squares, plain, threshold, resamples)
    found = []
    for name, distortion in {UNCHANGED: DISTORTIONS[UNCHANGED], **distortions}.items():
        scores = plain if name == UNCHANGED else _scores(spec, runtime, squares, distortion)
        now = before if name == UNCHANGED else _figures(squares, scores, threshold, resamples)
        # the same patients are drawn before and after, so their differences are of pairs
        value, *drawn = (now["auc"] - before["auc"]).tolist()
        found.append(
            Stressed(
                name=name,
                auc=_interval("auc", now["auc"]),
                auc_change=interval_of("auc_change", value, np.array(drawn)),
                sensitivity=_interval("sensitivity", now["sensitivity"]),
                specificity=_interval("specificity", now["specificity"]),
                moved=round(float(np.median(np.abs(_log_odds(scores) - _log_odds(plain)))), 5),
            )
        )
        advance()
    return tuple(found)


def _figures(
    squares: Squares, scores: NDArray[np.float64], threshold: float, resamples: int
) -> dict[str, NDArray[np.float64]]:
    """Return each figure of all images, followed by those of the resamples."""
    scored = Scored(squares.labels, scores, scores, squares.patients)
    each = [figures(scored, threshold)]
    each += [figures(scored, threshold, weights) for weights in patient_weights(scored.patients, resamples, seed=0)]
    return {name: np.array([found[name] for found in each]) for name in _NAMES}


def _interval(name: str, values: NDArray[np.float64]) -> Interval:
    return interval_of(name, float(values[0]), values[1:])


def _scores(spec: PreprocessSpec, runtime: Runtime, squares: Squares, distortion: Distortion) -> NDArray[np.float64]:
    of_class = {label: np.flatnonzero(squares.labels == label) for label in (0, 1)}
    scores = np.empty(len(squares))
    for start in range(0, len(squares), _BATCH):
        inputs = []
        rows = range(start, min(start + _BATCH, len(squares)))
        for row in rows:
            others = of_class[1 - int(squares.labels[row])]
            rng = np.random.default_rng(row)
            lender = squares.planes[int(rng.choice(others))]
            distorted = distortion(_unit(squares.planes[row]), _unit(lender), rng)
            inputs.append(spec.finish(np.clip(distorted, 0, 1).astype(np.float32) * np.float32(FULL_SCALE)))
        scores[start : rows.stop] = runtime.predict(np.stack(inputs))
    return scores


def _unit(square: NDArray[np.uint16]) -> Plane:
    return square.astype(np.float32) / np.float32(FULL_SCALE)


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(shares / (1 - shares))
