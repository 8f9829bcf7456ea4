"""From a model's own score to a probability, which means something only together with a prevalence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

# a float32 softmax saturates at exactly 0 and 1; log-odds there would be infinite
_EDGE: Final = 1e-7


class Calibration(BaseModel):
    """Platt scaling: log-odds = slope * logit(score) + intercept, right at `training_prevalence`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: Annotated[float, Field(gt=0)]
    intercept: float
    training_prevalence: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class Probability:
    """A calibrated probability and what it was computed with.

    Attributes
    ----------
    probability : float
        0 to 1.
    prevalence : float
        The prevalence it is for.
    offset : float
        Log-odds added to go there from the training prevalence; 0 without a site prevalence.
    """

    probability: float
    prevalence: float
    offset: float


def logit(share: float) -> float:
    """Return log-odds, of shares nearer than 1e-7 to either end those of 1e-7."""
    share = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(share / (1 - share))


def expit(log_odds: float) -> float:
    """Return the share of log-odds, without overflow."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    return math.exp(log_odds) / (1 + math.exp(log_odds))


def probability(score: float, calibration: Calibration, site_prevalence: float | None) -> Probability:
    """Turn a score into a probability.

    Parameters
    ----------
    score : float
        The model's output for PNEUMONIA, 0 to 1.
    site_prevalence : float or None
        Share of pneumonia among the site's studies, 0 to 1 exclusive; None means the training prevalence.

    Raises
    ------
    ValueError
        If the score is not finite or outside 0 to 1: such a score has no probability.
    """
    if not 0 <= score <= 1:  # also refuses NaN
        raise ValueError("a score is a number from 0 to 1")
    prevalence = calibration.training_prevalence if site_prevalence is None else site_prevalence
    offset = logit(prevalence) - logit(calibration.training_prevalence)
    log_odds = calibration.slope * logit(score) + calibration.intercept + offset
    return Probability(expit(log_odds), prevalence, offset)
