"""From a score to an outcome and flags: pure, total, and never reassuring by accident."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from bundle.calibration import Calibration, probability
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome
from imaging.reading import Quality
from imaging.reasons import Rejection

# A master this flat or this burnt out was exposed, windowed or cropped wrongly; a person should look whatever
# the score says. Wide of any usable radiograph on purpose: this flag is for accidents, not for taste.
_FLAT_SPREAD: Final = 0.10
_BURNT_SHARE: Final = 0.60


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """What a bundle says about its own scores, and the site about its patients.

    Attributes
    ----------
    threshold : float
        Operating point on the score, 0 to 1; at or above it is SUSPECTED.
    uncertain_low, uncertain_high : float
        Scores from low up to, not including, high are UNCERTAIN.
    calibration : Calibration
        From score to probability at the training prevalence.
    site_prevalence : float or None
        Share of pneumonia among the site's studies; None keeps the training prevalence.
    smallest_side : int
        Pixels; an original with a shorter side has less detail than the model was fitted on.
    unfamiliar_from : float or None
        Unfamiliarity at or above it is UNFAMILIAR; None where the bundle measures none.
    """

    threshold: float
    uncertain_low: float
    uncertain_high: float
    calibration: Calibration
    site_prevalence: float | None = None
    smallest_side: int = 224
    unfamiliar_from: float | None = None


@dataclass(frozen=True, slots=True)
class RaisedFlag:
    """One reason why the study should wait for a reader."""

    kind: FlagKind
    reason: str | None = None

    @property
    def priority(self) -> int:
        """Smaller is sooner."""
        return FLAG_PRIORITY[self.kind]


@dataclass(frozen=True, slots=True)
class Decision:
    """What we say of one image.

    `reason` is set exactly where the outcome is NO_RESULT. `score` and
    `probability` are None where the score was no number from 0 to 1; a reader
    must never take that for a low one. `probability_threshold` is the
    threshold on the scale of `probability`, so that the two can be compared.
    """

    outcome: Outcome
    reason: Rejection | None = None
    flags: tuple[RaisedFlag, ...] = ()
    score: float | None = None
    probability: float | None = None
    prevalence: float | None = None
    offset: float | None = None
    probability_threshold: float | None = None


def decide(score: float | None, rules: DecisionRules, quality: Quality, *, unfamiliar: bool = False) -> Decision:
    """Turn one score into an outcome and flags.

    Parameters
    ----------
    score : float or None
        The model's output for pneumonia; None if it gave none.
    rules : DecisionRules
        From the bundle's manifest and the site's settings.
    quality : Quality
        Facts about the master image.
    unfamiliar : bool
        Whether the input is unlike the training data.

    Returns
    -------
    Decision
        NO_RESULT for whatever is not a number from 0 to 1 (promise 8), and
        for an unfamiliar image that would else be NOT_SUSPECTED.
    """
    if score is None or not math.isfinite(score):
        return no_result(Rejection.NOT_FINITE)
    if not 0.0 <= score <= 1.0:
        return no_result(Rejection.OUT_OF_RANGE)
    chance = probability(score, rules.calibration, rules.site_prevalence)
    flags = []
    reason = None
    if score >= rules.threshold:
        outcome = Outcome.SUSPECTED
        flags.append(RaisedFlag(FlagKind.SUSPECTED))
    elif unfamiliar:
        outcome, reason = Outcome.NO_RESULT, Rejection.UNFAMILIAR
        flags.append(RaisedFlag(FlagKind.NO_RESULT, reason))
    else:
        outcome = Outcome.NOT_SUSPECTED
    if rules.uncertain_low <= score < rules.uncertain_high:
        flags.append(RaisedFlag(FlagKind.UNCERTAIN))
    if unfamiliar:
        flags.append(RaisedFlag(FlagKind.UNFAMILIAR))
    if poor := poor_image(quality, rules.smallest_side):
        flags.append(RaisedFlag(FlagKind.POOR_IMAGE, poor))
    return Decision(
        outcome,
        reason,
        tuple(flags),
        score=score,
        probability=chance.probability,
        prevalence=chance.prevalence,
        offset=chance.offset,
        probability_threshold=probability(rules.threshold, rules.calibration, rules.site_prevalence).probability,
    )


def is_unfamiliar(unfamiliarity: float | None, rules: DecisionRules) -> bool:
    """Whether an image is unlike the training data.

    Where the bundle measures that, no number or one that is not finite counts as unlike: it must not reassure.
    """
    if rules.unfamiliar_from is None:
        return False
    return unfamiliarity is None or not unfamiliarity < rules.unfamiliar_from  # also NaN


def no_result(reason: Rejection) -> Decision:
    """Say that there is no result and why; a person is told."""
    return Decision(Outcome.NO_RESULT, reason, (RaisedFlag(FlagKind.NO_RESULT, reason),))


def poor_image(quality: Quality, smallest_side: int) -> str | None:
    """Name what is wrong with an image's quality, or return None."""
    if quality.shorter_side < smallest_side:
        return "SMALL"
    if quality.spread < _FLAT_SPREAD:
        return "FLAT"
    if quality.clipped > _BURNT_SHARE:
        return "CLIPPED"
    return None
