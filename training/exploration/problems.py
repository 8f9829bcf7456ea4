"""What is wrong with a data set, each with the files or the patient it is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from training.datasets.assignment import Assignment
from training.datasets.dataset import LABELS, Item
from training.datasets.patients import Split
from training.errors import FitFailed
from training.examination.operating_point import REQUIRED_SENSITIVITY, refuse_too_few
from training.exploration.facts import Facts

_ILL: Final = "PNEUMONIA"


class ProblemKind(StrEnum):
    """What is wrong. The first five must be put right before anything is trained."""

    UNREADABLE = "UNREADABLE"
    EMPTY_CLASS = "EMPTY_CLASS"
    LABELS_DIFFER = "LABELS_DIFFER"
    PATIENT_IN_TWO_SPLITS = "PATIENT_IN_TWO_SPLITS"
    TOO_FEW_PATIENTS = "TOO_FEW_PATIENTS"
    DUPLICATE_ACROSS_SPLITS = "DUPLICATE_ACROSS_SPLITS"
    DUPLICATE_ACROSS_PATIENTS = "DUPLICATE_ACROSS_PATIENTS"
    IGNORED = "IGNORED"


HARMLESS: Final = frozenset(
    {ProblemKind.DUPLICATE_ACROSS_SPLITS, ProblemKind.DUPLICATE_ACROSS_PATIENTS, ProblemKind.IGNORED}
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    said : str
        A sentence that names the file or the patient, and what is done about it.
    paths : tuple of str
        Files it is about.
    """

    kind: ProblemKind
    said: str
    paths: tuple[str, ...] = ()


Key = TypeVar("Key", bound=Hashable)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Group items, in order."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def duplicates(facts: Mapping[Item, Facts]) -> list[list[Item]]:
    """Return the groups of items whose pixels are the same."""
    return [group for group in grouped(facts, lambda item: facts[item].master_digest).values() if len(group) > 1]


def of_images(items: Sequence[Item], copies: Sequence[Sequence[Item]], ignored: Sequence[str]) -> Iterator[Problem]:
    """Find empty classes, copies that matter, patients in two splits and files left out."""
    for split, members in sorted(grouped(items, lambda item: item.published_split or "").items()):
        for label in LABELS:
            if not any(item.label == label for item in members):
                where = f"the split {split}" if split else "the data set"
                yield Problem(ProblemKind.EMPTY_CLASS, f"no image of class {label} in {where}")
    for group in copies:
        yield from _of_copies(group)
    for patient, members in grouped(items, lambda item: item.patient).items():
        splits = grouped(members, lambda item: item.published_split or "none")
        if len(splits) > 1:
            said = f"patient {patient} is in the splits {' and '.join(sorted(splits))}; a patient belongs to one"
            yield Problem(ProblemKind.PATIENT_IN_TWO_SPLITS, said, tuple(some[0].path for some in splits.values()))
    if ignored:
        said = (
            f"{len(ignored)} files lie in no class folder, are neither JPEG nor PNG, or are in no line of the table, "
            "and left out"
        )
        yield Problem(ProblemKind.IGNORED, said, tuple(ignored))


def _of_copies(group: Sequence[Item]) -> Iterator[Problem]:
    paths = tuple(item.path for item in group)
    named = ", ".join(paths)
    if len({item.label for item in group}) > 1:
        yield Problem(ProblemKind.LABELS_DIFFER, f"one picture carries different labels: {named}; correct one", paths)
    elif len({item.published_split for item in group}) > 1:
        said = f"one picture is in several splits: {named}; where it is held out it is not fitted on"
        yield Problem(ProblemKind.DUPLICATE_ACROSS_SPLITS, said, paths)
    elif len({item.patient for item in group}) > 1:
        said = f"one picture belongs to several patients: {named}; where one is held out the other is dropped"
        yield Problem(ProblemKind.DUPLICATE_ACROSS_PATIENTS, said, paths)


def of_assignment(assignment: Assignment) -> Iterator[Problem]:
    """Find splits with too few patients to train with; a data set that is only to be scored needs none."""
    if not any(assignment.items[split] for split in (Split.FIT, Split.WATCH, Split.VALIDATION)):
        return
    for split in (Split.FIT, Split.WATCH, Split.VALIDATION):
        for label in LABELS:
            if not any(item.label == label for item in assignment.items[split]):
                said = f"no patient of class {label} falls to the split {split.value}; use more data"
                yield Problem(ProblemKind.TOO_FEW_PATIENTS, said)
    ill = {item.patient for item in assignment.items[Split.VALIDATION] if item.label == _ILL}
    try:
        refuse_too_few(len(ill), REQUIRED_SENSITIVITY)
    except FitFailed as error:
        yield Problem(ProblemKind.TOO_FEW_PATIENTS, str(error))
