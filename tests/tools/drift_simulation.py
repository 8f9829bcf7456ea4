"""How often the watch for drift raises something where there is none, and how often where there is.

    python -m tests.tools.drift_simulation

prints the tables of docs/drift.md. A site has so many patients a day, some with
several studies, those with several images, which are alike: three quarters of
what varies in a score is the patient's. Nothing else ties days to each other.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.settings import Settings
from tests.tools.gate_simulation import rate
from training.nightly.drift.compare import compare, gravest
from training.nightly.drift.result import STATISTIC, Level, Name, Statistic
from training.nightly.drift.rules import Rules, rules_of
from training.nightly.drift.sizes import Sample

REFERENCE, RECENT = 56, 28
# images of a patient: one, and as many more as this on average
_MORE = 0.6
_PATIENTS_SHARE = 0.75
_MIXES: dict[Name, tuple[float, ...]] = {
    Name.SCOPE: (0.6, 0.25, 0.1, 0.04, 0.01),
    Name.DEVICE: (0.5, 0.3, 0.15, 0.05),
    Name.CALLING_AE: (0.7, 0.3),
    Name.VIEW: (0.6, 0.3, 0.1),
    Name.SEX: (0.5, 0.48, 0.02),
    Name.AGE: (0.2, 0.4, 0.1, 0.1, 0.1, 0.1),
}
_RATES: dict[Name, float] = {
    Name.FLAGGED: 0.1,
    Name.UNFAMILIAR: 0.03,
    Name.NO_RESULT: 0.01,
    Name.CONFIRMED: 0.6,
    Name.CLEARED: 0.95,
    Name.CONFIRMED_BLIND: 0.6,
    Name.CLEARED_BLIND: 0.97,
}
# few studies are drawn and read blind, few masters measured
_SHARES = {Name.CONFIRMED: 0.1, Name.CLEARED: 0.05, Name.CONFIRMED_BLIND: 0.01, Name.CLEARED_BLIND: 0.02}
_MASTERS = 400


@dataclass(frozen=True, slots=True)
class Change:
    """What is another in the last weeks: numbers lie so many of their standard deviations higher, `device` is new."""

    name: str = "none"
    shift: float = 0.0
    flagged: float = _RATES[Name.FLAGGED]
    device: float = 0.0


NONE = Change()


def default_rules() -> Rules:
    return rules_of(Settings())


def some_days(rng: np.random.Generator, patients: int, change: Change = NONE, first: int = 0) -> dict[Name, Sample]:
    """Make up what is seen of so many patients, numbered from `first`."""
    images = 1 + rng.poisson(_MORE, patients)
    who = np.repeat(np.arange(first, first + patients), images)
    seen: dict[Name, Sample] = {}
    for name in Name:
        asked = rng.random(patients) < _SHARES.get(name, 1.0)
        if name in (Name.BRIGHTNESS, Name.CONTRAST, Name.SHARPNESS):
            asked &= np.cumsum(images) <= _MASTERS
        chosen = np.repeat(asked, images)
        if chosen.any():
            values = _values(rng, name, np.repeat(rng.random(patients), images)[chosen], change)
            seen[name] = Sample(values, who[chosen])
    # both measures of the score are of the same scores
    seen[Name.SCORE_DISTANCE] = seen[Name.SCORE]
    return seen


def _values(rng: np.random.Generator, name: Name, patients: NDArray[np.float64], change: Change) -> NDArray[Any]:
    if STATISTIC[name] is Statistic.H:
        return patients < (change.flagged if name is Name.FLAGGED else _RATES[name])
    if name in _MIXES:
        found = np.searchsorted(np.cumsum(_MIXES[name])[:-1], patients, "right").astype(str).astype(object)
        if name is Name.DEVICE:
            found[rng.random(len(found)) < change.device] = "new"
        return found
    # a normal law of the patient, and one of the image
    own = np.sqrt(-2 * np.log(1 - patients)) * np.cos(2 * np.pi * _scrambled(patients))
    return np.sqrt(_PATIENTS_SHARE) * own + np.sqrt(1 - _PATIENTS_SHARE) * rng.normal(size=len(own)) + change.shift


def _scrambled(patients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Another uniform number of each patient, the same for all of a patient's images."""
    return (patients * 1e6) % 1


def joined(parts: list[dict[Name, Sample]]) -> dict[Name, Sample]:
    """What was seen on several days."""
    found = {}
    for name in Name:
        own = [part[name] for part in parts if name in part]
        if own:
            values, patients = (
                np.concatenate([getattr(one, field) for one in own]) for field in ("values", "patients")
            )
            most = _MASTERS if name in (Name.BRIGHTNESS, Name.CONTRAST, Name.SHARPNESS) else len(values)
            found[name] = Sample(values[:most], patients[:most])
    return found


def one_look(a_day: int, rules: Rules, seed: int, change: Change = NONE) -> Level:
    """One reference and one month of a site."""
    rng = np.random.default_rng(seed)
    reference = some_days(rng, a_day * REFERENCE)
    return gravest(compare(reference, some_days(rng, a_day * RECENT, change), rules))


def one_year(a_day: int, rules: Rules, seed: int, step: int = 7) -> Counter[Level]:
    """A year of looks against one reference, without drift."""
    rng = np.random.default_rng(seed)
    reference = some_days(rng, a_day * REFERENCE)
    days = [some_days(rng, a_day, first=1_000_000 + day * a_day) for day in range(RECENT + 365)]
    looks = range(RECENT, RECENT + 365, step)
    return Counter(gravest(compare(reference, joined(days[look - RECENT : look]), rules)) for look in looks)


CHANGES = (
    NONE,
    Change("scores and grey levels 0.25 standard deviations higher", shift=0.25),
    Change("the same 0.5 higher", shift=0.5),
    Change("the same 0.75 higher", shift=0.75),
    Change("flags on 15 % of studies, not 10 %", flagged=0.15),
    Change("flags on 20 %", flagged=0.20),
    Change("flags on 35 %", flagged=0.35),
    Change("a new device makes 5 % of images", device=0.05),
    Change("a new device makes 20 %", device=0.20),
)
SIZES = (3, 10, 30)


def looks_table(looks: int, rules: Rules) -> Iterator[str]:
    yield "| what changed | patients a day | NOTICE | STRONG | UNTOLD |"
    yield "|---|---|---|---|---|"
    for change in CHANGES:
        for a_day in SIZES:
            found = Counter(one_look(a_day, rules, seed, change) for seed in range(looks))
            cells = (rate(found[level], looks) for level in (Level.NOTICE, Level.STRONG, Level.UNTOLD))
            yield f"| {change.name} | {a_day} | {' | '.join(cells)} |"


def years_table(years: int, rules: Rules) -> Iterator[str]:
    yield "| patients a day | years of weekly looks | looks that raise something | years with one |"
    yield "|---|---|---|---|"
    for a_day in SIZES:
        found = [one_year(a_day, rules, 1_000_000 + seed) for seed in range(years)]
        raised = [year[Level.NOTICE] + year[Level.STRONG] for year in found]
        looks = sum(year.total() for year in found)
        yield f"| {a_day} | {years} | {rate(sum(raised), looks)} | {rate(sum(map(bool, raised)), years)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="How often drift is told where there is none, and where there is.")
    parser.add_argument("--looks", type=int, default=300, help="for each line")
    parser.add_argument("--years", type=int, default=40, help="for each line")
    arguments = parser.parse_args()
    rules = default_rules()
    for table in (looks_table(arguments.looks, rules), years_table(arguments.years, rules)):
        for line in table:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
