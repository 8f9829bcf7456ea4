"""Two periods in, measures out. Pure: no clock, no files, no ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from training.nightly.drift.result import OF_MODEL, OF_STUDIES, STATISTIC, Level, Measure, Name, Statistic
from training.nightly.drift.rules import Rules
from training.nightly.drift.sizes import (
    Bounds,
    Floats,
    Sample,
    h,
    largest_distance,
    quantile_edges,
    share_at,
    shares,
    stability_index,
    steadied,
)

Seen = Mapping[Name, Sample]

# with fewer nothing is said, however large it looks: chance is reckoned by laws of larger numbers
_FEWEST: Final = 30
_MOST_CATEGORIES: Final = 12
_OTHERS: Final = "(others)"
_NOTHING: Final = Sample(np.empty(0), np.empty(0, np.int64))
_NUMBERS: Final = frozenset({Name.SCORE, Name.UNFAMILIARITY, Name.BRIGHTNESS, Name.CONTRAST, Name.SHARPNESS})


def compare(reference: Seen, recent: Seen, rules: Rules) -> tuple[Measure, ...]:
    """Hold what was seen in one period against what was seen in another, measure by measure.

    Parameters
    ----------
    reference, recent : mapping of Name to Sample
        Of what is in `OF_MODEL` only what one and the same model made. What is missing is UNTOLD.
    """
    return tuple(
        _Pair(name, reference.get(name, _NOTHING), recent.get(name, _NOTHING), rules).measure() for name in Name
    )


def gravest(measures: tuple[Measure, ...]) -> Level:
    """Return the level of all together; UNTOLD only where nothing is told."""
    levels = {measure.level for measure in measures}
    return next((level for level in (Level.STRONG, Level.NOTICE, Level.NONE) if level in levels), Level.UNTOLD)


class _Pair:
    """One measure's samples of both periods."""

    def __init__(self, name: Name, reference: Sample, recent: Sample, rules: Rules) -> None:
        self.name, self.reference, self.recent, self.rules = name, reference, recent, rules
        self.statistic = STATISTIC[name]
        self.worths = reference.worth, recent.worth

    def measure(self) -> Measure:
        """Measure it."""
        if not len(self.reference) or not len(self.recent):
            return self._measure(Level.UNTOLD, self._missing())
        match self.statistic:
            case Statistic.H:
                return self._rate()
            case Statistic.KS:
                value = largest_distance(self.reference.values, self.recent.values)
                return self._told(value, "distance", self._bounds())
            case Statistic.PSI if self.name in _NUMBERS:
                return self._distribution()
            case Statistic.PSI:
                return self._mix()

    def _distribution(self) -> Measure:
        before, now = self.reference.values, self.recent.values
        inner = quantile_edges(before)
        parts = shares(before, inner), shares(now, inner)
        # what lies outside all that was seen would be drawn nowhere
        low, high = (float(end(np.concatenate([before, now]))) for end in (np.min, np.max))
        edges = (min(low, float(inner[0])), *map(float, inner), max(high, float(inner[-1])))
        words = f"median {np.median(now):.3g}, in the reference {np.median(before):.3g}; index"
        found = self._told(stability_index(*parts), words, self._bounds(len(parts[0])))
        return self._drawn(found, *parts, edges=edges)

    def _mix(self) -> Measure:
        counts = Counter(self.reference.values), Counter(self.recent.values)
        categories = _categories(*counts)
        parts = _parts(counts[0], categories), _parts(counts[1], categories)
        value = stability_index(*parts)
        most = int(np.argmax(np.abs(parts[1] - parts[0])))
        words = (
            f"most changed is {categories[most]}, {parts[1][most]:.1%}, in the reference {parts[0][most]:.1%}; index"
        )
        found = self._told(value, words, self._bounds(len(categories)))
        return self._drawn(found, *parts, categories=categories)

    def _rate(self) -> Measure:
        before, now = float(self.reference.values.mean()), float(self.recent.values.mean())
        bounds = self._bounds()
        steady_before, steady_now = steadied(before, self.worths[0]), steadied(now, self.worths[1])
        outside = [
            f"outside {share_at(steady_before, -size):.1%} to {share_at(steady_before, size):.1%}"
            for size in (bounds.notice, bounds.strong)
        ]
        words = f"{now:.1%}, in the reference {before:.1%}; a notice {outside[0]}, strong {outside[1]}"
        found = self._levelled(h(steady_before, steady_now), words, bounds)
        parts = np.array([before, 1 - before]), np.array([now, 1 - now])
        return self._drawn(found, *parts, categories=("yes", "no"))

    def _bounds(self, bins: int = 2) -> Bounds:
        return Bounds.of(self.statistic, self.rules, self.rules.chance / len(Name), self.worths, bins)

    def _told(self, value: float, words: str, bounds: Bounds) -> Measure:
        ending = f"{words} {value:.3f}, a notice from {bounds.notice:.3f}, strong from {bounds.strong:.3f}"
        return self._levelled(value, ending, bounds)

    def _levelled(self, value: float, words: str, bounds: Bounds) -> Measure:
        size, fewest = abs(value), min(self.worths)
        if fewest < _FEWEST or (size < bounds.notice and not bounds.told):
            level = Level.UNTOLD
            known = f"worth {self.worths[0]:.0f} patients in the reference and {self.worths[1]:.0f} now"
            words = f"{words}; too few to tell: {known}, about {bounds.wanted} in each are wanted"
        elif size < bounds.notice:
            level = Level.NONE
        else:
            level = Level.NOTICE if size < bounds.strong else Level.STRONG
        return self._measure(level, words).model_copy(
            update={"value": round(value, 5), "notice": round(bounds.notice, 5), "strong": round(bounds.strong, 5)}
        )

    def _missing(self) -> str:
        lacks = "the reference" if not len(self.reference) else "the last weeks"
        if self.name in OF_MODEL:
            return (
                f"{lacks} has nothing of it from the model in service; the answers of another are not compared with its"
            )
        return f"{lacks} has nothing of it"

    def _measure(self, level: Level, words: str) -> Measure:
        what = "studies" if self.name in OF_STUDIES else "images"
        counts = f"{len(self.recent):,} {what}, {len(self.reference):,} in the reference"
        return Measure(
            name=self.name,
            statistic=self.statistic,
            level=level,
            words=f"{self.name.replace('_', ' ')}: {words} ({counts})",
            reference_count=len(self.reference),
            recent_count=len(self.recent),
            reference_worth=round(self.worths[0]),
            recent_worth=round(self.worths[1]),
        )

    @staticmethod
    def _drawn(
        found: Measure,
        before: Floats,
        now: Floats,
        edges: tuple[float, ...] | None = None,
        categories: tuple[str, ...] | None = None,
    ) -> Measure:
        parts = [tuple(round(float(share), 5) for share in one) for one in (before, now)]
        rounded = None if edges is None else tuple(round(edge, 6) for edge in edges)
        return found.model_copy(
            update={
                "edges": rounded,
                "categories": categories,
                "reference_shares": parts[0],
                "recent_shares": parts[1],
            }
        )


def _categories(before: Counter[str], now: Counter[str]) -> tuple[str, ...]:
    """Return what is named, by the larger of its two shares; the rest counts together."""

    def larger(one: str) -> float:
        return max(before[one] / before.total(), now[one] / now.total())

    named = sorted(set(before) | set(now), key=lambda one: (-larger(one), one))
    few = tuple(named[:_MOST_CATEGORIES])
    return (*few, _OTHERS) if len(named) > len(few) else few


def _parts(counts: Counter[str], categories: tuple[str, ...]) -> Floats:
    named = [counts[one] for one in categories if one != _OTHERS]
    if _OTHERS in categories:
        named.append(counts.total() - sum(named))
    return np.array(named) / counts.total()
