"""How often the gate lets equal, better and worse models pass: binormal scores, drawn again and again.

    python -m tests.tools.gate_simulation --nights 2000

prints the tables of docs/gate.md. A night is one frozen test set and one
challenger. Scores are on the log-odds scale, normal within each class and with
equal variance, so that AUC = Phi(d / sqrt 2) and the logistic of d * score -
d^2 / 2 is a calibrated probability at equal classes. Models see the same images:
what makes an image or a patient hard is in part shared between models.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from statistics import NormalDist

import numpy as np

from core.settings import Settings
from training.nightly.gate.decide import decide
from training.nightly.gate.decision import Decision, Verdict
from training.nightly.gate.exam import Answers, Exam, FrozenTest
from training.nightly.gate.rules import Rules, rules_of
from training.nightly.gate.spending import Spending

NIGHT = date(2026, 1, 1)
# of the variance of a score: of the patient and seen by both models, of the patient and one model's own, and so on
_PATIENT_SHARED, _PATIENT_OWN, _IMAGE_SHARED, _IMAGE_OWN = 0.35, 0.10, 0.35, 0.20
# one image, and as many more as this on average
_MORE_IMAGES = 0.6
_SENSITIVITY = 0.97
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Skill:
    """What a model is worth in the limit of many patients.

    Attributes
    ----------
    auc : float
    sensitivity : float
        At its operating point.
    boldness : float
        By which its log-odds are too large; the slope is one over it.
    copied : bool
        Whether it answers as the champion does.
    """

    name: str
    auc: float
    sensitivity: float = _SENSITIVITY
    boldness: float = 1.0
    copied: bool = False

    @property
    def distance(self) -> float:
        return math.sqrt(2) * _NORMAL.inv_cdf(self.auc)

    @property
    def specificity(self) -> float:
        return _NORMAL.cdf(self.distance - _NORMAL.inv_cdf(self.sensitivity))


CHAMPION = Skill("champion", 0.980)
CHALLENGERS = (
    Skill("a copy of the champion", 0.980, copied=True),
    Skill("equal", 0.980),
    Skill("better by 0.005 AUC", 0.985),
    Skill("better by 0.010 AUC", 0.990),
    Skill("better by 0.015 AUC", 0.995),
    Skill("worse by 0.005 AUC", 0.975),
    Skill("worse by 0.010 AUC", 0.970),
    Skill("equal AUC, sensitivity worse by 2 points", 0.980, sensitivity=0.95),
    Skill("better by 0.010 AUC, sensitivity worse by 2 points", 0.990, sensitivity=0.95),
    Skill("better by 0.010 AUC, sensitivity worse by 4 points", 0.990, sensitivity=0.93),
    Skill("better by 0.010 AUC, twice too bold", 0.990, boldness=2.0),
)


def default_rules(**changes: object) -> Rules:
    return rules_of(Settings()).model_copy(update=changes)


def night(rng: np.random.Generator, positives: int, challenger: Skill, champion: Skill = CHAMPION) -> Exam:
    """Draw a test set of so many images with pneumonia and about as many without, and both models' answers."""
    ill_patients, ill_images = _patients(rng, positives)
    well_patients, well_images = _patients(rng, positives)
    sizes = np.concatenate([ill_images, well_images])
    labels = np.repeat(np.arange(len(sizes)) < ill_patients, sizes).astype(np.int64)
    patients = np.repeat(np.arange(len(sizes)), sizes)
    count = ill_patients + well_patients
    shared = math.sqrt(_PATIENT_SHARED) * rng.normal(size=count)[patients]
    shared += math.sqrt(_IMAGE_SHARED) * rng.normal(size=len(labels))
    answers = [
        _answers(skill, labels, shared + _own(rng, patients, count)) for skill in (champion, challenger)
    ]
    mine = answers[0] if challenger.copied else answers[1]
    return Exam(
        night=NIGHT,
        test=FrozenTest(labels, tuple(f"{number:06d}" for number in patients)),
        challenger=Answers("challenger", mine.threshold, mine.scores, mine.probabilities),
        champion=answers[0],
        anchor=answers[0],
        ancestry={"challenger": frozenset({"someone else"})},
        canaries=np.array([0.1, 0.9]),
    )


def _patients(rng: np.random.Generator, images: int) -> tuple[int, np.ndarray]:
    """Draw how many images each patient has until there are enough, and cut the last one short."""
    sizes = 1 + rng.poisson(_MORE_IMAGES, images)
    sizes = sizes[: int(np.searchsorted(sizes.cumsum(), images)) + 1]
    sizes[-1] -= sizes.sum() - images
    return len(sizes), sizes


def _own(rng: np.random.Generator, patients: np.ndarray, count: int) -> np.ndarray:
    own = math.sqrt(_PATIENT_OWN) * rng.normal(size=count)[patients]
    return own + math.sqrt(_IMAGE_OWN) * rng.normal(size=len(patients))


def _answers(skill: Skill, labels: np.ndarray, noise: np.ndarray) -> Answers:
    d = skill.distance
    odds = d * (noise + d * labels) - d * d / 2
    threshold = d * (d - _NORMAL.inv_cdf(skill.sensitivity)) - d * d / 2
    scores = 1 / (1 + np.exp(-odds))
    bold = 1 / (1 + np.exp(-skill.boldness * odds))
    return Answers(skill.name, 1 / (1 + math.exp(-threshold)), scores, bold)


def decided(positives: int, challenger: Skill, rules: Rules, seed: int) -> Decision:
    rng = np.random.default_rng(seed)
    return decide(night(rng, positives, challenger), rules, Spending(), rng)
