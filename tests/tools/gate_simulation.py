"""How often the gate lets equal, better and worse models pass: binormal scores, drawn again and again.

    python -m tests.tools.gate_simulation

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
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np

from core.settings import Settings
from training.examination.metrics import areas, patient_counts
from training.examination.operating_point import binomial_lower_bound
from training.nightly.gate.decide import decide
from training.nightly.gate.decision import Decision, Rule, Standing, Verdict
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


SIZES = (400, 1600)


@dataclass(frozen=True)
class Cases:
    """A test set, and what of its difficulty all models share."""

    test: FrozenTest
    patients: np.ndarray
    shared: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, positives: int) -> Cases:
        """Draw so many images with pneumonia and as many without, one to some a patient."""
        ill, well = _images_a_patient(rng, positives), _images_a_patient(rng, positives)
        sizes = np.concatenate([ill, well])
        labels = np.repeat(np.arange(len(sizes)) < len(ill), sizes).astype(np.int64)
        patients = np.repeat(np.arange(len(sizes)), sizes)
        shared = _noise(rng, patients, _PATIENT_SHARED, _IMAGE_SHARED)
        return cls(FrozenTest(labels, tuple(f"{number:06d}" for number in patients)), patients, shared)

    def answers(self, rng: np.random.Generator, skill: Skill) -> Answers:
        """Let a model of this skill answer."""
        d = skill.distance
        noise = self.shared + _noise(rng, self.patients, _PATIENT_OWN, _IMAGE_OWN)
        odds = d * (noise + d * self.test.labels) - d * d / 2
        threshold = d * (d - _NORMAL.inv_cdf(skill.sensitivity)) - d * d / 2
        scores, bold = (1 / (1 + np.exp(-factor * odds)) for factor in (1.0, skill.boldness))
        return Answers(skill.name, 1 / (1 + math.exp(-threshold)), scores, bold)


def _images_a_patient(rng: np.random.Generator, images: int) -> np.ndarray:
    """Draw until there are enough, and cut the last patient short."""
    sizes = 1 + rng.poisson(_MORE_IMAGES, images)
    sizes = sizes[: int(np.searchsorted(sizes.cumsum(), images)) + 1]
    sizes[-1] -= sizes.sum() - images
    return sizes


def _noise(rng: np.random.Generator, patients: np.ndarray, of_patient: float, of_image: float) -> np.ndarray:
    noise = math.sqrt(of_patient) * rng.normal(size=int(patients.max()) + 1)[patients]
    return noise + math.sqrt(of_image) * rng.normal(size=len(patients))


def examined(cases: Cases, champion: Answers, challenger: Answers, night: date = NIGHT) -> Exam:
    """Put a challenger before the gate that nothing formal speaks against."""
    return Exam(
        night=night,
        test=cases.test,
        challenger=replace(challenger, digest="challenger"),
        champion=champion,
        anchor=champion,
        ancestry={"challenger": frozenset({"someone else"})},
        canaries=np.array([0.1, 0.9]),
    )


def default_rules(**changes: object) -> Rules:
    """Return the rules as they are shipped, but for some."""
    return rules_of(Settings(_env_file=None)).model_copy(update=changes)


def one_night(positives: int, skill: Skill, rules: Rules, seed: int) -> Decision:
    """Draw a test set and a challenger, and decide."""
    rng = np.random.default_rng(seed)
    cases = Cases.draw(rng, positives)
    champion = cases.answers(rng, CHAMPION)
    challenger = champion if skill.copied else cases.answers(rng, skill)
    return decide(examined(cases, champion, challenger), rules, Spending(), rng)


def one_year(positives: int, rules: Rules, seed: int, nights: int = 366) -> tuple[int, int]:
    """Hold an equal challenger a night against one test set; return how often one was better in AUC, and promoted."""
    rng = np.random.default_rng(seed)
    cases = Cases.draw(rng, positives)
    champion, spending, better, promoted = cases.answers(rng, CHAMPION), Spending(), 0, 0
    for number in range(nights):
        exam = examined(cases, champion, cases.answers(rng, CHAMPION), NIGHT + timedelta(number))
        decision = decide(exam, rules, spending, rng)
        spending = decision.spending
        better += any(one.rule is Rule.SUPERIOR and one.standing is Standing.HELD for one in decision.findings)
        promoted += decision.verdict is Verdict.PROMOTE
    return better, promoted


def rate(hits: int, trials: int) -> str:
    """Return a share with its exact 95 % interval, in per cent."""
    low, high = binomial_lower_bound(hits, trials, 0.975), 1 - binomial_lower_bound(trials - hits, trials, 0.975)
    return f"{100 * hits / trials:.3g} % ({100 * low:.3g} to {100 * high:.3g})"


def nights_table(nights: int, rules: Rules) -> Iterator[str]:
    """Give the lines of the table of verdicts."""
    yield "| challenger | sensitivity, specificity | positives | PROMOTE | KEEP | INSUFFICIENT_EVIDENCE |"
    yield "|---|---|---|---|---|---|"
    for skill in CHALLENGERS:
        for positives in SIZES:
            found = Counter(one_night(positives, skill, rules, seed).verdict for seed in range(nights))
            shares = [100 * found[verdict] / nights for verdict in (Verdict.KEEP, Verdict.INSUFFICIENT_EVIDENCE)]
            yield (
                f"| {skill.name} | {skill.sensitivity:.3f}, {skill.specificity:.3f} | {positives:,} "
                f"| {rate(found[Verdict.PROMOTE], nights)} | {shares[0]:.3g} % | {shares[1]:.3g} % |"
            )


def years_table(years: int, rules: Rules) -> Iterator[str]:
    """Give the lines of the table of false promotions; a large test set takes its time, so it gets fewer years."""
    yield "| positives | years of 366 nights | nights found better in AUC | nights promoted | years with a promotion |"
    yield "|---|---|---|---|---|"
    for positives, count in zip(SIZES, (years, max(1, years // 3)), strict=True):
        found = [one_year(positives, rules, 1_000_000 + seed) for seed in range(count)]
        better, promoted = (sum(year[place] for year in found) for place in (0, 1))
        with_one = sum(year[1] > 0 for year in found)
        yield (
            f"| {positives:,} | {count} | {rate(better, 366 * count)} | {rate(promoted, 366 * count)} "
            f"| {rate(with_one, count)} |"
        )


def level_table(nights: int, positives: int = 200, resamples: int = 150) -> Iterator[str]:
    """Give the lines of the table that shows how well the normal law holds: equal models, AUC alone, few cases.

    Either of two equal models may be the one that looks better, so both tails are counted, and halved.
    """
    errors = np.empty(nights)
    for seed in range(nights):
        rng = np.random.default_rng(7_000_000 + seed)
        cases = Cases.draw(rng, positives)
        first, second = cases.answers(rng, CHAMPION), cases.answers(rng, CHAMPION)
        counts = patient_counts(int(cases.patients.max()) + 1, resamples, rng).take(cases.patients, axis=1)
        weights = np.concatenate([np.ones((1, len(cases.test))), counts])
        better = areas(cases.test.ill, second.scores, weights) - areas(cases.test.ill, first.scores, weights)
        errors[seed] = better[0] / better[1:].std()
    yield "| better by so many standard errors | share of nights | normal law |"
    yield "|---|---|---|"
    for reach in (1.645, 1.96, 2.576, 3.09, NormalDist().inv_cdf(1 - 0.05 / 366)):
        beyond = int((np.abs(errors) > reach).sum())
        yield f"| {reach:.3f} | {rate(beyond, 2 * nights)} | {100 * (1 - NormalDist().cdf(reach)):.3g} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description="How often equal, better and worse models pass the gate.")
    parser.add_argument("--nights", type=int, default=200, help="test sets and challengers for each line")
    parser.add_argument("--years", type=int, default=3, help="years of equal challengers on one test set")
    parser.add_argument("--levels", type=int, default=12_000, help="nights of equal challengers, AUC alone")
    parser.add_argument("--resamples", type=int, default=300, help="of patients; the gate itself takes 2,000")
    arguments = parser.parse_args()
    rules = default_rules(resamples=arguments.resamples)
    tables = (
        nights_table(arguments.nights, rules) if arguments.nights else (),
        level_table(arguments.levels) if arguments.levels else (),
        years_table(arguments.years, rules) if arguments.years else (),
    )
    for table in tables:
        for line in table:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
