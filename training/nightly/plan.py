"""What a night does. Pure: decided once, and stored, so that a night that is gone on with does the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from db.vocabulary import NightKind

# an older fit learnt from labels that are old
LONGEST_FIT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the plan depends on.

    Attributes
    ----------
    new_labels : int
        On the sides that are trained with, since the last challenger.
    frozen_test : bool
        Whether there is anything a challenger could be examined on.
    both_classes : bool
        Whether that has images with pneumonia and without.
    in_shadow : bool
        Whether an earlier challenger still scores in the shadow.
    goes_on : NightKind or None
        Of a fit that the night before had no time to end.
    same_architecture : bool
        Whether the champion's weights fit the recipe.
    """

    new_labels: int
    frozen_test: bool
    both_classes: bool
    in_shadow: bool
    goes_on: NightKind | None
    same_architecture: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What the night does, and why, for a person."""

    kind: NightKind
    why: str


def choose(night: date, standing: Standing, minimum: int, scratch_weekday: int | None) -> Plan:
    """Choose what to do tonight.

    Parameters
    ----------
    minimum : int
        New labels that are worth a challenger.
    scratch_weekday : int or None
        0 is Monday.
    """
    why_not = _why_not(standing, minimum)
    if why_not is not None:
        return Plan(NightKind.EVALUATE, why_not)
    if standing.goes_on is not None:
        return Plan(standing.goes_on, "the fit of the night before goes on")
    if night.weekday() == scratch_weekday:
        return Plan(NightKind.FROM_SCRATCH, f"{standing.new_labels} new labels, and it is the weekday for it")
    if not standing.same_architecture:
        return Plan(
            NightKind.FROM_SCRATCH, f"{standing.new_labels} new labels; the champion is another kind of network"
        )
    return Plan(NightKind.FINE_TUNE, f"{standing.new_labels} new labels since the last challenger")


def _why_not(standing: Standing, minimum: int) -> str | None:
    """Say why nothing is trained tonight."""
    if not standing.frozen_test:
        return "there is no frozen test set to examine a challenger on: `lungwatch testset freeze` makes one"
    if not standing.both_classes:
        return "the frozen test set has images of one class only, and nothing can be examined on it"
    if standing.in_shadow:
        return "a challenger scores in the shadow; another is trained when that is over"
    if standing.goes_on is None and standing.new_labels < minimum:
        return f"{standing.new_labels} new labels since the last challenger; {minimum} are wanted to train one"
    return None
