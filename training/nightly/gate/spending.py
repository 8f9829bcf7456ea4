"""How much of the year's probability of a false promotion a night may spend.

Each exam gets the same share of the year's, and every night is an exam of its
own; why not a falling series, alpha-investing or a group-sequential boundary is
argued in docs/decisions/0020-gate.md.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from training.nightly.gate.rules import Rules

_YEAR: Final = timedelta(days=366)


class Spending(BaseModel):
    """The nights of the last year that were spent; carried from decision to decision.

    Attributes
    ----------
    nights : tuple of date
        Ascending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nights: tuple[date, ...] = ()

    def before(self, night: date) -> tuple[date, ...]:
        """Return the nights spent within the year that ends with this one, which is not among them.

        Raises
        ------
        ValueError
            If this night or a later one is spent already: a night is examined once.
        """
        if self.nights and self.nights[-1] >= night:
            raise ValueError(f"the night of {night} is spent already, or one after it; a night is examined once")
        return tuple(spent for spent in self.nights if spent > night - _YEAR)

    def alpha(self, night: date, rules: Rules) -> float:
        """Return what this night may spend: its share of the year's, or 0 where all shares are spent."""
        return rules.alpha_a_year / rules.exams_a_year if len(self.before(night)) < rules.exams_a_year else 0.0

    def after(self, night: date) -> Spending:
        """Return what is carried to the next night."""
        return Spending(nights=(*self.before(night), night))
