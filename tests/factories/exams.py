"""Exams for the gate in which everything holds, and single calls turned into others."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from core.settings import Settings
from training.nightly.gate.decide import decide
from training.nightly.gate.decision import Decision, Finding, Standing
from training.nightly.gate.exam import Answers, Exam, FrozenTest
from training.nightly.gate.redrawn import Figure
from training.nightly.gate.rules import Rules, rules_of
from training.nightly.gate.spending import Spending

NIGHT = date(2026, 3, 1)
# the champion's
_DISTANCE = 2.9
_THRESHOLD = 0.5


def rules(**changes: object) -> Rules:
    """Return the rules as shipped, but for fewer resamples and what is said."""
    values = rules_of(Settings()).model_dump() | {"resamples": 300} | changes
    return Rules.model_validate(values)


def exam(patients: int = 600, *, well: int | None = None, images: int = 1, seed: int = 0) -> Exam:
    """Make an exam that ends in PROMOTE: the same calls as the champion's, better ranked within them.

    Parameters
    ----------
    patients, well : int
        With pneumonia and without; as many without where not said.
    images : int
        Of every third patient; the others have one.
    """
    rng = np.random.default_rng(seed)
    count = patients + (patients if well is None else well)
    numbers = np.repeat(np.arange(count), np.where(np.arange(count) % 3 == 0, images, 1))
    labels = (numbers < patients).astype(np.int64)
    odds = _DISTANCE * (rng.normal(size=len(labels)) + _DISTANCE * labels) - _DISTANCE**2 / 2
    probabilities = 1 / (1 + np.exp(-odds))
    test = FrozenTest(labels, tuple(f"patient-{number:05d}" for number in numbers))
    champion = Answers("champion", _THRESHOLD, probabilities, probabilities)
    challenger = Answers("challenger", 0.5, ranked(test, probabilities >= _THRESHOLD, seed), probabilities)
    return Exam(
        NIGHT, test, challenger, champion, champion, {"challenger": frozenset({"another"})}, np.array([0.2, 0.8])
    )


def ranked(test: FrozenTest, called: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return scores with these calls at a threshold of 0.5, the ill above the well among the called and the others."""
    places = np.where(called, 0.5, 0.0) + np.where(test.ill, 0.25, 0.0)
    return places + 0.2 * np.random.default_rng(seed).random(len(test))


def turned(given: Exam, figure: Figure, *, gained: int = 0, lost: int = 0, within: np.ndarray | None = None) -> Exam:
    """Put so many of the champion's wrong calls right, and so many of its right ones wrong.

    Parameters
    ----------
    figure : Figure
        Sensitivity for calls of images with pneumonia, else specificity.
    within : ndarray of bool, optional
        Where those that are lost lie.
    """
    ill = given.test.ill
    called = given.challenger.scores >= given.challenger.threshold
    own = ill if figure is Figure.SENSITIVITY else ~ill
    wrong, right = (
        np.flatnonzero(own & (called != ill)),
        np.flatnonzero(own & (called == ill) & (own if within is None else within)),
    )
    rows = [*wrong[:gained], *right[:lost]]
    assert len(rows) == gained + lost, "there are not so many"
    called[rows] = ~called[rows]
    return replace(given, challenger=replace(given.challenger, scores=ranked(given.test, called)))


def judged(given: Exam, seed: int = 0, spending: Spending | None = None, **changes: object) -> Decision:
    return decide(given, rules(**changes), spending or Spending(), np.random.default_rng(seed))


def not_held(decision: Decision) -> list[Finding]:
    return [finding for finding in decision.findings if finding.standing is not Standing.HELD]
