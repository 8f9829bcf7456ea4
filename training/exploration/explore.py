"""Looking at a data set before anything is trained on it: what it holds, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.spec import PreprocessSpec
from training.datasets.assignment import Assignment, Digests, assign
from training.datasets.dataset import LABELS, Dataset, Item, Layout, Rendered
from training.datasets.scan import scan
from training.errors import DatasetError
from training.exploration.facts import LEVELS, MEASURES, Facts, Spread, measure, separation, spread
from training.exploration.problems import (
    HARMLESS,
    Problem,
    ProblemKind,
    duplicates,
    grouped,
    of_assignment,
    of_images,
)
from training.pages import thumbnail

# side of a sample's picture, pixels
SAMPLE_SIDE: Final = 160
_SEED: Final = 13


@dataclass(frozen=True)
class Sample:
    """An image before and after preprocessing, uint8, for the eye only."""

    item: Item
    facts: Facts
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Patients:
    """How many patients there are, and how many images each has.

    Attributes
    ----------
    grouped : int
        Bacterial and viral images of one number counted as one patient: what every split goes by.
    told_apart : int
        Counted as two.
    by_label : dict of str to int
        Patients with an image of the class.
    images_each : dict of int to int
        How many patients have so many images.
    """

    grouped: int
    told_apart: int
    by_label: dict[str, int]
    images_each: dict[int, int]


@dataclass(frozen=True, slots=True)
class Copies:
    """Pictures that are there more than once.

    Attributes
    ----------
    groups, images : int
        Of byte-identical files.
    groups_of_pixels, images_of_pixels : int
        Of files with the same pixels after decoding, byte-identical ones included.
    paths : tuple of tuple of str
        The latter groups.
    """

    groups: int
    images: int
    groups_of_pixels: int
    images_of_pixels: int
    paths: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Exploration:
    """What a data set holds.

    Attributes
    ----------
    counts : dict
        Images by published split and class; ``-`` where there is no split.
    subgroups : dict of str to int
        Images by what tells kinds of pneumonia apart.
    uses, use_patients : dict
        Images by use and class, patients by use; a use is where the keyed hash of the patient puts an image.
    spreads : dict
        Of each measure, by class.
    separations : dict of str to float
        AUC of each measure alone between the classes: what gives the class away without the disease.
    levels : dict of str to ndarray of int64, shape (256,)
        Pixels of each grey level, by class.
    values : dict
        Each measure of each image, by class.
    """

    name: str
    layout: Layout
    images: int
    counts: dict[str, dict[str, int]]
    subgroups: dict[str, int]
    patients: Patients
    uses: dict[str, dict[str, int]]
    use_patients: dict[str, int]
    spreads: dict[str, dict[str, Spread]]
    separations: dict[str, float]
    copies: Copies
    problems: tuple[Problem, ...]
    levels: dict[str, NDArray[np.int64]]
    values: dict[str, dict[str, list[float]]]
    samples: tuple[Sample, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing must be put right before training."""
        return all(problem.kind in HARMLESS for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``lungwatch data explore --json`` prints, for `cli.output.print_json`."""
        names = ("name", "layout", "images", "counts", "subgroups", "patients", "uses", "use_patients", "spreads")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        found["grey_levels"] = {label: counted.tolist() for label, counted in self.levels.items()}
        return {**found, "separations": self.separations, "copies": self.copies, "problems": self.problems}


def explore(
    dataset: Dataset, spec: PreprocessSpec, samples: int = 12, advance: Callable[[], None] = lambda: None
) -> Exploration:
    """Look at every image of a data set once, a few at a time.

    Parameters
    ----------
    dataset : Dataset
        Opened with ``whole_patients=False``, so that patients in two splits are told and not refused.
    spec : PreprocessSpec
        What the samples and the sharpness go through.
    samples : int
        How many images of each class are shown.
    advance : callable
        Called after each image, for a progress bar.
    """
    shown = _choose(dataset.items, samples)
    levels = {label: np.zeros(LEVELS, np.int64) for label in LABELS}
    facts: dict[Item, Facts] = {}
    pictures: list[Sample] = []
    problems: list[Problem] = []

    def look(item: Item, rendered: Rendered) -> tuple[Facts, NDArray[np.int64], Sample | None]:
        known, histogram = measure(rendered, spec)
        sample = Sample(item, known, *_show(rendered.master, spec)) if item in shown else None
        return known, histogram, sample

    for item, found in scan(dataset, dataset.items, look, advance):
        if isinstance(found, DatasetError):
            problems.append(Problem(ProblemKind.UNREADABLE, str(found), (item.path,)))
            continue
        facts[item], histogram, sample = found
        levels[item.label] += histogram
        pictures += [] if sample is None else [sample]
    copies = duplicates(facts)
    problems += of_images(dataset.items, copies, dataset.ignored)
    assignment = _assign(dataset, facts, copies)
    problems += of_assignment(assignment)
    values = {
        kind.name: {label: [kind.of(known) for item, known in facts.items() if item.label == label] for label in LABELS}
        for kind in MEASURES
    }
    split_counts = {
        split: dict(Counter(item.label for item in members))
        for split, members in sorted(grouped(dataset.items, lambda item: item.published_split or "-").items())
    }
    return Exploration(
        name=dataset.name,
        layout=dataset.layout,
        images=len(dataset.items),
        counts={split: {label: counted.get(label, 0) for label in LABELS} for split, counted in split_counts.items()},
        subgroups=dict(sorted(Counter(item.subgroup for item in dataset.items if item.subgroup).items())),
        patients=_patients(dataset.items),
        uses=_uses(assignment),
        use_patients={
            split.value: len({item.patient for item in items}) for split, items in assignment.items.items() if items
        },
        spreads={
            name: {label: spread(some) for label, some in by_label.items() if some} for name, by_label in values.items()
        },
        separations={
            name: area
            for name, by_label in values.items()
            if (area := separation(*(by_label[label] for label in LABELS))) is not None
        },
        copies=_copies(facts, copies),
        problems=tuple(problems),
        levels=levels,
        values=values,
        samples=tuple(pictures),
    )


def _choose(items: Sequence[Item], count: int) -> frozenset[Item]:
    """Draw images of each class, the same ones each time."""
    rng = np.random.default_rng(_SEED)
    chosen: list[Item] = []
    for members in grouped(items, lambda item: item.label).values():
        drawn = rng.choice(len(members), min(count, len(members)), replace=False)
        chosen += [members[int(place)] for place in drawn]
    return frozenset(chosen)


def _show(master: NDArray[np.uint16], spec: PreprocessSpec) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    plane = spec.apply(master)[:, :, 0]
    # "unit" planes keep their exposure; standardised ones have no black and white of their own
    low, high = (0.0, 1.0) if spec.scale == "unit" else (float(plane.min()), float(plane.max()))
    eight_bit = np.rint((plane - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
    after = Image.fromarray(eight_bit).resize((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.NEAREST)
    return thumbnail(master, SAMPLE_SIDE), np.asarray(after)


def _patients(items: Sequence[Item]) -> Patients:
    images = Counter(item.patient for item in items)
    return Patients(
        grouped=len(images),
        told_apart=len({(item.patient, item.subgroup) for item in items}),
        by_label={label: len({item.patient for item in items if item.label == label}) for label in LABELS},
        images_each=dict(sorted(Counter(images.values()).items())),
    )


def _copies(facts: Mapping[Item, Facts], groups: Sequence[Sequence[Item]]) -> Copies:
    files = [group for group in grouped(facts, lambda item: facts[item].file_digest).values() if len(group) > 1]
    return Copies(
        groups=len(files),
        images=sum(map(len, files)),
        groups_of_pixels=len(groups),
        images_of_pixels=sum(map(len, groups)),
        paths=tuple(tuple(item.path for item in group) for group in groups),
    )


def _assign(dataset: Dataset, facts: Mapping[Item, Facts], copies: Sequence[Sequence[Item]]) -> Assignment:
    """Assign what can be assigned; the rest is among the problems."""
    contradicting = {item for group in copies if len({item.label for item in group}) > 1 for item in group}
    kept = tuple(item for item in facts if item not in contradicting)
    digests = {item.key: Digests(facts[item].file_digest, facts[item].master_digest) for item in kept}
    return assign(replace(dataset, items=kept), digests=digests)


def _uses(assignment: Assignment) -> dict[str, dict[str, int]]:
    uses = {split.value: items for split, items in assignment.items.items() if items}
    if assignment.dropped:
        uses["dropped"] = assignment.dropped
    return {
        name: {label: sum(item.label == label for item in items) for label in LABELS} for name, items in uses.items()
    }
