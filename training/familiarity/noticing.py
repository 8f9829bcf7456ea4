"""What an unfamiliarity score notices of pictures that are no chest, and what it raises false alarms on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleRefused
from bundle.familiarity import Familiarity
from bundle.load import LoadedModel
from bundle.manifest import Interval, Noticed
from imaging.spec import PreprocessSpec
from training.datasets.dataset import Item
from training.datasets.pixels import patients_of
from training.examination.metrics import interval_of, patient_weights
from training.examination.part import Chosen
from training.familiarity.unlike import REPORTED, Master, Unlike, pictures

# pictures made of each class
COUNT: Final = 60
_RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Measured:
    """What a model's unfamiliarity score did with a part of a data set, and with pictures of other things.

    Attributes
    ----------
    threshold : float
        The bundle's.
    n : int
        Images of the data set.
    false_alarms : Interval
        Share of them called unfamiliar.
    noticed : dict of str to Noticed
        By class of pictures.
    """

    threshold: float
    n: int
    false_alarms: Interval
    noticed: dict[str, Noticed]

    def to_dict(self) -> dict[str, Any]:
        """Return the part ``unfamiliar`` of the JSON of ``lungwatch evaluate --unfamiliar --json``."""
        return {
            "threshold": self.threshold,
            "n": self.n,
            "false_alarms": self.false_alarms.model_dump(),
            "noticed": {name: found.model_dump() for name, found in self.noticed.items()},
        }


def measure(
    model: LoadedModel,
    chosen: Chosen,
    begin: Callable[[str, int], Callable[[], None]] = lambda _name, _total: lambda: None,
    count: int | None = None,
) -> Measured:
    """Measure a bundle's unfamiliarity score on a part of a data set.

    Parameters
    ----------
    begin : callable
        Called with a stage's name and length; returns what to call after each step.
    count : int, optional
        Pictures of each class; else `COUNT`.

    Raises
    ------
    BundleRefused
        If the bundle has no such score.
    DatasetError
        If a picture is unreadable.
    """
    if model.familiarity is None or model.manifest.familiarity is None:
        raise BundleRefused(f"{model.manifest.title} does not measure how unfamiliar an image is; train it anew")
    count = COUNT if count is None else count
    items = chosen.items
    values, chests = np.empty(len(items)), []
    step = begin("unfamiliarity", len(items))
    lent = set(spaced(items, count))
    for row, item in enumerate(items):
        master = chosen.dataset.master(item)
        values[row] = model.familiarity.unfamiliarity(model.spec.apply(master)[np.newaxis])[0]
        if item in lent:
            chests.append(master)
        step()
    threshold = model.manifest.familiarity.threshold
    step = begin("unlike pictures", count * len(REPORTED))
    return Measured(
        threshold,
        len(items),
        false_alarms(values, patients_of(items), threshold),
        notice(model.familiarity, model.spec, threshold, chests, count, advance=step),
    )


def spaced(items: Sequence[Item], count: int) -> list[Item]:
    """Return so many items from everywhere among them: the first ones are all of one class."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[int(place)] for place in places]


def false_alarms(values: NDArray[np.float64], patients: NDArray[np.int64], threshold: float) -> Interval:
    """Return the share of images called unfamiliar, with its 95 % interval by patient."""
    called = (~(values < threshold)).astype(np.float64)
    weights = patient_weights(patients, _RESAMPLES, seed=0)
    draws = np.array([float(called @ one / one.sum()) for one in weights])
    return interval_of("false_alarms", float(called.mean()), draws)


def notice(  # noqa: PLR0917 - a score is familiarity, spec and threshold
    familiarity: Familiarity,
    spec: PreprocessSpec,
    threshold: float,
    chests: list[Master],
    count: int = COUNT,
    kinds: tuple[Unlike, ...] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Noticed]:
    """Count how many pictures of each class are called unfamiliar, through the pixels of serving.

    A class whose pictures come with a library that is not installed is left out.

    Parameters
    ----------
    chests : list of ndarray of uint16
        Masters of patients that nothing was chosen on; what transformed classes are made from.
    advance : callable
        Called after each picture.
    """
    noticed = {}
    for kind in REPORTED if kinds is None else kinds:
        sources = None if kind.sources is None else kind.sources()
        if sources == 0:
            continue
        called = 0
        for master in pictures(kind, chests, count):
            value = float(familiarity.unfamiliarity(spec.apply(master)[np.newaxis])[0])
            called += not value < threshold
            advance()
        noticed[kind.name] = Noticed(n=count, unfamiliar=called, sources=sources)
    return noticed
