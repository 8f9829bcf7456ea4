"""Every figure of the report, measured once, so that page, text and JSON say the same.

Overall figures come from `training.examination.metrics.intervals`, as those that
`lungwatch evaluate` prints. Those of subgroups and the gains come from the gate's
bootstrap, which draws the same patients for both models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import Interval
from training.examination.metrics import Scored, interval_of, intervals
from training.examination.subgroups import FEW_PATIENTS
from training.nightly.gate.exam import Answers
from training.nightly.gate.redrawn import Drawn, Figure, redraw
from training.nightly.report.night import Examined, Role

FIGURES: Final = (
    *("auc", "sensitivity", "specificity", "precision"),
    *("brier", "log_loss", "calibration_slope", "ece_debiased"),
)
_RESAMPLES: Final = 1000
_SHARES: Final = (Figure.SENSITIVITY, Figure.SPECIFICITY)


@dataclass(frozen=True, slots=True)
class Calls:
    """How pictures of one class were called at the operating point; `untold` have a score that is no number."""

    suspected: int
    not_suspected: int
    untold: int


@dataclass(frozen=True)
class Measured:
    """What a model came to on some pictures.

    Attributes
    ----------
    figures : mapping of str to Interval
        Of `FIGURES`, or what had been measured before; empty where `problem` says why it cannot be.
    ill, well : Calls
        Of the pictures with pneumonia and of those without.
    """

    figures: Mapping[str, Interval]
    ill: Calls
    well: Calls
    problem: str | None = None


@dataclass(frozen=True)
class Group:
    """Figures of a subgroup, or of everybody.

    Attributes
    ----------
    ill, well : int
        Pictures with and without pneumonia.
    few : bool
        Whether so few patients stand behind either that its figure tells little.
    figures : mapping of Role to mapping of Figure to Interval
        Sensitivity and specificity.
    gains : mapping of Figure to Interval
        Challenger less champion; empty where one of them was not asked.
    """

    ill: int
    well: int
    few: bool
    figures: Mapping[Role, Mapping[Figure, Interval]]
    gains: Mapping[Figure, Interval]


@dataclass(frozen=True)
class Measures:
    """What all models came to on the same pictures; `groups` begins with everybody, named ``all``."""

    images: int
    patients: int
    ill_images: int
    ill_patients: int
    models: Mapping[Role, Measured]
    groups: Mapping[str, Group]


def measure(examined: Examined, resamples: int = _RESAMPLES) -> Measures:
    """Measure what every model came to; of any input, however damaged or empty."""
    pictures = examined.pictures
    ill = pictures.ill
    found = {role: _measured(examined, role, resamples) for role in _roles(examined.answers)}
    sound = {role: examined.answers[role] for role, one in found.items() if one.problem is None}
    return Measures(
        images=len(pictures),
        patients=len(set(pictures.patients)),
        ill_images=int(ill.sum()),
        ill_patients=len({patient for patient, sick in zip(pictures.patients, ill, strict=True) if sick}),
        models=found,
        groups=_groups(examined, sound, resamples) if sound and ill.any() and not ill.all() else {},
    )


def scored(examined: Examined, answers: Answers) -> Scored:
    """Return what one model said in the form that figures are made from."""
    pictures = examined.pictures
    return Scored(pictures.labels, answers.scores, answers.probabilities, pictures.numbers)


def _roles(answers: Mapping[Role, Answers]) -> list[Role]:
    """Return whose answers there are, in order; an anchor that is the champion is not asked twice."""
    anchor, champion = answers.get(Role.ANCHOR), answers.get(Role.CHAMPION)
    twice = anchor is not None and champion is not None and anchor.digest == champion.digest
    return [role for role in Role if role in answers and not (twice and role is Role.ANCHOR)]


def _measured(examined: Examined, role: Role, resamples: int) -> Measured:
    said = examined.answers[role]
    ill, told = examined.pictures.ill, np.isfinite(said.scores)
    called = said.scores >= said.threshold
    problem = _problem(examined, said)
    figures: Mapping[str, Interval] = {}
    if problem is None:
        figures = examined.figures.get(role) or intervals(scored(examined, said), said.threshold, FIGURES, resamples)
    return Measured(figures=figures, ill=_calls(ill, told, called), well=_calls(~ill, told, called), problem=problem)


def _problem(examined: Examined, said: Answers) -> str | None:
    if not len(examined.pictures):
        return "there are no pictures"
    if not np.isin(examined.pictures.labels, (0, 1)).all():
        return "some labels are neither 0 nor 1"
    for name, values in (("scores", said.scores), ("probabilities", said.probabilities)):
        # written so that NaN is wrong, too
        if count := int((~((values >= 0) & (values <= 1))).sum()):
            return f"{count} of its {name} are no number from 0 to 1"
    return None


def _calls(own: NDArray[np.bool_], told: NDArray[np.bool_], called: NDArray[np.bool_]) -> Calls:
    return Calls(int((own & told & called).sum()), int((own & told & ~called).sum()), int((own & ~told).sum()))


def _groups(examined: Examined, sound: Mapping[Role, Answers], resamples: int) -> dict[str, Group]:
    pictures = examined.pictures
    drawn = dict(zip(sound, redraw(pictures, tuple(sound.values()), resamples, np.random.default_rng(0)), strict=True))
    members = {"": np.ones(len(pictures), np.bool_), **pictures.subgroups}
    found = {}
    for name, member in members.items():
        classes = (member & pictures.ill, member & ~pictures.ill)
        patients = [len(np.unique(pictures.numbers[own])) for own in classes if own.any()]
        if not patients:
            continue
        found[name or "all"] = Group(
            ill=int(classes[0].sum()),
            well=int(classes[1].sum()),
            few=min(patients) < FEW_PATIENTS,
            figures={
                role: {figure: _interval(figures[figure, name]) for figure in _SHARES}
                for role, figures in drawn.items()
            },
            gains=_gains(drawn, name),
        )
    return found


def _gains(drawn: Mapping[Role, Drawn], name: str) -> dict[Figure, Interval]:
    if not {Role.CHALLENGER, Role.CHAMPION} <= set(drawn):
        return {}
    mine, theirs = drawn[Role.CHALLENGER], drawn[Role.CHAMPION]
    return {figure: _interval(mine[figure, name] - theirs[figure, name]) for figure in _SHARES}


def _interval(values: NDArray[np.float64]) -> Interval:
    return interval_of("", float(values[0]), values[1:])
