"""What the gate is given: three models' answers to one frozen test set, and where the challenger comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FrozenTest:
    """The test set that all three models are judged on.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        1 is PNEUMONIA, 0 is not.
    patients : tuple of str, n of them
        Each image's patient, as a keyed digest: of the same key as `Exam.ancestry`.
    subgroups : mapping of str to ndarray of bool, shape (n,)
        Which images belong to it, by name such as ``sex: F``. They may overlap.
    """

    labels: NDArray[np.int64]
    patients: tuple[str, ...]
    subgroups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ill(self) -> NDArray[np.bool_]:
        """Which images show pneumonia."""
        return np.equal(self.labels, 1)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Each image's patient as a number from 0, in the order of the digests."""
        return np.unique(np.array(self.patients, np.str_), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Answers:
    """What a model said of the test set.

    Attributes
    ----------
    digest : str
        Of its bundle.
    threshold : float
        Its stored operating point: scores at or above it are called PNEUMONIA.
    scores, probabilities : ndarray of float64, shape (n,)
        Its own output and the calibrated probability, 0 to 1.
    """

    digest: str
    threshold: float
    scores: Floats
    probabilities: Floats


@dataclass(frozen=True)
class Exam:
    """One night's examination of a challenger.

    Attributes
    ----------
    night : date
        The date the nightly run has claimed.
    anchor : Answers
        The best model there ever was (`Decision.becomes_anchor`); the champion itself where they are the same.
    ancestry : mapping of str to frozenset of str, or None
        Patients fitted on, by bundle: the challenger and everything it was
        fine-tuned from. None where that is no longer known.
    canaries : ndarray of float64
        What the challenger said of its bundle's own test inputs, 0 to 1.

    Raises
    ------
    ValueError
        If arrays differ in length, or an anchor that is the champion has other
        scores: they cannot be of the same images.
    """

    night: date
    test: FrozenTest
    challenger: Answers
    champion: Answers
    anchor: Answers
    ancestry: Mapping[str, frozenset[str] | None]
    canaries: Floats

    def __post_init__(self) -> None:
        columns = {"patients": len(self.test.patients)}
        columns |= {f"subgroup {name}": len(member) for name, member in self.test.subgroups.items()}
        for role, model in self.models.items():
            columns |= {f"{role}'s scores": len(model.scores), f"{role}'s probabilities": len(model.probabilities)}
        for name, length in columns.items():
            if length != len(self.test):
                raise ValueError(f"{name}: {length} values for {len(self.test)} labels of the test set")
        if not self.anchored and not np.array_equal(self.anchor.scores, self.champion.scores, equal_nan=True):
            raise ValueError("anchor and champion are the same bundle and answered differently")

    @property
    def models(self) -> dict[str, Answers]:
        """The three of them by role."""
        return {"challenger": self.challenger, "champion": self.champion, "anchor": self.anchor}

    @property
    def anchored(self) -> bool:
        """Whether the anchor is another model than the champion."""
        return self.anchor.digest != self.champion.digest

    def seed(self) -> int:
        """Return a seed for the bootstrap that belongs to this exam, so that nobody chooses among several."""
        test = hashlib.sha256()
        for patient, label in sorted(zip(self.test.patients, self.test.labels.tolist(), strict=True)):
            test.update(f"{patient}\t{label}\n".encode())
        parts = (self.night.isoformat(), test.hexdigest(), *(model.digest for model in self.models.values()))
        return int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest()[:8], "big")

    def in_order(self) -> Exam:
        """Return the same exam with its images in an order that depends on their values alone."""
        test, models = self.test, self.models
        keys: list[NDArray[np.bool_] | Floats] = [test.subgroups[name] for name in sorted(test.subgroups)]
        keys += [values for model in models.values() for values in (model.probabilities, model.scores)]
        order = np.lexsort((*keys, test.labels, np.array(test.patients, np.str_)))
        sorted_test = FrozenTest(
            test.labels[order],
            tuple(test.patients[row] for row in order),
            {name: test.subgroups[name][order] for name in sorted(test.subgroups)},
        )
        challenger, champion, anchor = (
            replace(model, scores=model.scores[order], probabilities=model.probabilities[order])
            for model in models.values()
        )
        return replace(self, test=sorted_test, challenger=challenger, champion=champion, anchor=anchor)
