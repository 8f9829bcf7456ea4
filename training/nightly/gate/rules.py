"""The gate's rules as data: from the settings, and kept with every decision, so that it can be read and made again."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from core.settings import GateMetric, Settings

# of every interval, two-sided; non-inferiority is therefore tested one-sided at 0.025, as ICH E9 has it
CONFIDENCE: Final = 0.95
# with which an equal model should be told from one that is worse by the margin
POWER: Final = 0.8

Margin = Annotated[float, Field(gt=0, lt=1)]


class Rules(BaseModel):
    """What a challenger must show.

    Attributes
    ----------
    metric : GateMetric
        The one figure in which it must be superior.
    alpha_a_year : float
        Probability that in a year of nights a model that is not superior is taken for one, at most.
    exams_a_year : int
        Nights that share it.
    sensitivity_margin, specificity_margin, auc_margin, log_loss_margin : float
        How much worse than the champion is still as good.
    slope_low, slope_high : float
        Between which Cox's calibration slope must lie, with its whole interval.
    subgroup_margin : float
        A subgroup that is worse by more, with its whole interval, refuses.
    subgroup_images : int
        Of the class in question, from which on a subgroup is looked at.
    resamples : int
        Of patients, for the bootstrap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: GateMetric
    alpha_a_year: Margin
    exams_a_year: int
    sensitivity_margin: Margin
    specificity_margin: Margin
    auc_margin: Margin
    log_loss_margin: Annotated[float, Field(gt=0)]
    slope_low: Margin
    slope_high: Annotated[float, Field(gt=1)]
    subgroup_margin: Margin
    subgroup_images: int
    resamples: int


def rules_of(settings: Settings) -> Rules:
    """Read the rules from the settings: each field is the setting of its name with ``gate_`` before it."""
    return Rules.model_validate({name: getattr(settings, f"gate_{name}") for name in Rules.model_fields})
