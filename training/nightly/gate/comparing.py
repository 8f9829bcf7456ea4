"""The rules that look at figures: each a question about two models, or one, and its finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.examination.metrics import interval_of
from training.nightly.gate.decision import Against, Finding, Rule, Standing
from training.nightly.gate.exam import Answers, FrozenTest
from training.nightly.gate.paired import fewest, score_interval, wanted
from training.nightly.gate.redrawn import Drawn, Figure, Key
from training.nightly.gate.rules import CONFIDENCE, Rules

Floats = NDArray[np.float64]

_SHARES: Final = {Figure.SENSITIVITY: "with pneumonia", Figure.SPECIFICITY: "without pneumonia"}
_NAMES: Final = {Figure.AUC: "AUC", Figure.LOG_LOSS: "log-loss"}


@dataclass(frozen=True, slots=True)
class Span:
    """A figure with its interval; rounded as it is stored, so that what is stored is what was decided by."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, drawn: Floats) -> Span:
        """Take the 95 % interval of the bootstrap; the first entry is the figure itself, which must be a number."""
        found = interval_of("", float(drawn[0]), drawn[1:])
        if found.value is None or found.low is None or found.high is None:
            raise ValueError("a figure that is no number, or has no resample, cannot be compared")
        return cls(found.value, found.low, found.high)

    def hull(self, low: float, high: float) -> Span:
        """Return the span that holds this one and another interval."""
        return Span(self.value, min(self.low, round(low, 5)), max(self.high, round(high, 5)))


@dataclass(frozen=True)
class Comparison:
    """Challenger and another model on one test set.

    Attributes
    ----------
    mine, theirs : dict of Key to ndarray of float64
        The figures of both, as `training.nightly.gate.redrawn.redraw` gives them.
    """

    test: FrozenTest
    against: Against
    challenger: Answers
    other: Answers
    mine: Drawn
    theirs: Drawn

    def better(self, figure: Figure, subgroup: str = "") -> Floats:
        """Return by how much the challenger is better, and then the same of each resample."""
        key: Key = (figure, subgroup)
        # of log-loss less is better
        return self.theirs[key] - self.mine[key] if figure is Figure.LOG_LOSS else self.mine[key] - self.theirs[key]

    def share_not_inferior(self, figure: Figure, margin: float) -> Finding:
        """Ask whether sensitivity or specificity is as good, where that can be told.

        The interval is the wider of two on either side: the bootstrap's, which
        knows that images of a patient fail together, and the score interval over
        patients (`training.nightly.gate.paired`), which knows how few they are.
        """
        better = self.better(figure)
        gained, lost, patients = self._changed(figure)
        span = Span.of(better).hull(*score_interval(gained, lost, patients))
        needed = wanted(margin, float(np.nanstd(better[1:])) * patients**0.5)
        enough = patients >= fewest(margin)
        if enough and span.low > -margin:
            standing, ending = Standing.HELD, f"not more than {_size(figure, margin)} worse"
        elif enough and (span.high < -margin or patients >= needed):
            standing, ending = Standing.BROKEN, f"may not be more than {_size(figure, margin)} worse"
        else:
            standing = Standing.UNTOLD
            ending = (
                f"whether it is more than {_size(figure, margin)} worse cannot be told from {patients} patients "
                f"{_SHARES[figure]}; about {needed} are wanted"
            )
        words = f"{self._words(figure, span)}; {ending}"
        found = self._finding(Rule.NOT_INFERIOR, standing, words, figure, span, -margin)
        return found.model_copy(update={"patients": patients, "wanted": needed})

    def not_inferior(self, figure: Figure, margin: float) -> Finding:
        """Ask whether AUC or log-loss is as good."""
        span = Span.of(self.better(figure))
        held = span.low > -margin
        ending = f"{'not' if held else 'may not be'} more than {_size(figure, margin)} worse"
        words = f"{self._words(figure, span)}; {ending}"
        return self._finding(Rule.NOT_INFERIOR, _standing(held), words, figure, span, -margin)

    def superior(self, figure: Figure, alpha: float) -> Finding:
        """Ask whether the figure named in advance is better, at tonight's level.

        Two thousand resamples cannot show a tail of one in ten thousand, so
        their spread is taken, and a normal law; were the two models equal, the
        difference would be symmetrical whatever the law of each.

        Parameters
        ----------
        alpha : float
            One-sided; at 0 nothing is shown.
        """
        better = self.better(figure)
        value, spread = float(better[0]), float(np.nanstd(better[1:]))
        reach = NormalDist().inv_cdf(1 - alpha) * spread if alpha > 0 else 1.0
        span = Span(round(value, 5), round(value - reach, 5), round(value + reach, 5))
        held = alpha > 0 and span.low > 0
        if alpha > 0:
            ending = f"{'' if held else 'not '}shown to be better, at tonight's level of {alpha:.2g} one-sided"
        else:
            ending = "nothing is shown: the year's probability of a false promotion is spent"
        words = f"{self._words(figure, span, 1 - 2 * alpha)}; {ending}"
        return self._finding(Rule.SUPERIOR, _standing(held), words, figure, span, 0.0)

    def subgroups(self, rules: Rules) -> Iterator[Finding]:
        """Ask of every subgroup that is large enough whether it is surely worse."""
        for name, member in self.test.subgroups.items():
            for figure, own in ((Figure.SENSITIVITY, self.test.ill), (Figure.SPECIFICITY, ~self.test.ill)):
                if int((member & own).sum()) < rules.subgroup_images:
                    continue
                span = Span.of(self.better(figure, name))
                worse = span.high < -rules.subgroup_margin
                ending = f"{'' if worse else 'not '}surely more than {_size(figure, rules.subgroup_margin)} worse"
                words = f"subgroup {name}, {self._words(figure, span)}; {ending}"
                found = self._finding(Rule.SUBGROUP, _standing(not worse), words, figure, span, -rules.subgroup_margin)
                yield found.model_copy(update={"subgroup": name})

    def _finding(self, rule: Rule, standing: Standing, words: str, figure: Figure, span: Span, above: float) -> Finding:  # noqa: PLR0917 - what a finding says
        return Finding(
            rule=rule,
            standing=standing,
            words=words,
            figure=figure,
            against=self.against,
            value=span.value,
            low=span.low,
            high=span.high,
            above=above,
        )

    def _changed(self, figure: Figure) -> tuple[float, float, int]:
        """Return how many patients gain and lose, each as the share of its images, and how many patients there are."""
        own = self.test.ill if figure is Figure.SENSITIVITY else ~self.test.ill
        _, position = np.unique(self.test.numbers[own], return_inverse=True)
        mine, theirs = (
            (model.scores[own] >= model.threshold).astype(np.float64) for model in (self.challenger, self.other)
        )
        right = mine - theirs if figure is Figure.SENSITIVITY else theirs - mine
        change = np.bincount(position, right) / np.bincount(position)
        return float(change[change > 0].sum()), float(-change[change < 0].sum()), len(change)

    def _words(self, figure: Figure, span: Span, confidence: float = CONFIDENCE) -> str:
        value, low, high = (_signed(figure, part) for part in (span.value, span.low, span.high))
        name = _NAMES.get(figure, figure.value)
        return f"{name}, improvement on the {self.against}: {value} ({100 * confidence:.4g} % interval {low} to {high})"


def calibrated(mine: Drawn, rules: Rules) -> Finding:
    """Ask whether the challenger's probabilities are neither too bold nor too timid."""
    span = Span.of(mine[Figure.SLOPE, ""])
    held = rules.slope_low < span.low and span.high < rules.slope_high
    return Finding(
        rule=Rule.CALIBRATED,
        standing=_standing(held),
        words=(
            f"calibration slope: {span.value:.2f} ({100 * CONFIDENCE:g} % interval {span.low:.2f} to {span.high:.2f}); "
            f"{'lies' if held else 'must lie'} between {rules.slope_low:g} and {rules.slope_high:g} as a whole"
        ),
        figure=Figure.SLOPE,
        value=span.value,
        low=span.low,
        high=span.high,
        above=rules.slope_low,
        below=rules.slope_high,
    )


def _standing(held: bool) -> Standing:  # noqa: FBT001 - of one thing
    return Standing.HELD if held else Standing.BROKEN


def _signed(figure: Figure, value: float) -> str:
    return f"{100 * value:+.2f} points" if figure in _SHARES else f"{value:+.4f}"


def _size(figure: Figure, margin: float) -> str:
    return f"{100 * margin:g} points" if figure in _SHARES else f"{margin:g}"
