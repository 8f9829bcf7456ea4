"""From where on a change counts, as data: from the settings, and kept with every look."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.settings import Settings

Size = Annotated[float, Field(gt=0, le=10)]


class Rules(BaseModel):
    """How large a change is told, and how seldom chance may be taken for one.

    Attributes
    ----------
    psi_notice, psi_strong : float
        Population stability index; what it comes to on the scale of Kolmogorov and Smirnov follows from it.
    rate_notice, rate_strong : float
        Of shares, as Cohen's h: the difference of their arcsines of the root, doubled.
    chance : float
        Probability that a look without drift raises anything, at most; the measures share it.
    blocks : bool
        Whether strong drift blocks promotion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    psi_notice: Size
    psi_strong: Size
    rate_notice: Size
    rate_strong: Size
    chance: Annotated[float, Field(gt=0, lt=1)]
    blocks: bool


def rules_of(settings: Settings) -> Rules:
    """Read the rules from the settings: each field is the setting of its name with ``drift_`` before it."""
    return Rules.model_validate({name: getattr(settings, f"drift_{name}") for name in Rules.model_fields})
