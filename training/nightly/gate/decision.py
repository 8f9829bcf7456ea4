"""What the gate answers: a verdict, and what every rule found, in figures and in words. Stored as JSON."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from training.nightly.gate.redrawn import Figure
from training.nightly.gate.rules import Rules
from training.nightly.gate.spending import Spending
from training.nightly.stored import Stored


class Verdict(StrEnum):
    """What to do with the challenger; where several apply, the later one of these is given.

    PROMOTE: every rule holds. KEEP the champion: the challenger was examined
    and did not show what it must. INSUFFICIENT_EVIDENCE: the test set is too
    small to tell it. REFUSED: it must not be compared, or harms a subgroup.
    """

    PROMOTE = "PROMOTE"
    KEEP = "KEEP"
    INSUFFICIENT_EVIDENCE = "INSUFFICIENT_EVIDENCE"
    REFUSED = "REFUSED"


class Rule(StrEnum):
    """What is asked."""

    FINITE = "finite"
    BOTH_CLASSES = "both_classes"
    CANARIES = "canaries"
    ANCESTRY = "ancestry"
    NOT_INFERIOR = "not_inferior"
    SUPERIOR = "superior"
    CALIBRATED = "calibrated"
    SUBGROUP = "subgroup"


class Standing(StrEnum):
    """How a rule came out; UNTOLD: more patients are needed to say."""

    HELD = "held"
    BROKEN = "broken"
    UNTOLD = "untold"


class Against(StrEnum):
    """Whom the challenger is held against."""

    CHAMPION = "champion"
    ANCHOR = "anchor"


class Finding(Stored):
    """What one rule found.

    Attributes
    ----------
    figure : Figure or None
        What was measured; None of a rule about the input.
    against : Against or None
        With it, `value` is a difference: by how much the challenger is better (of log-loss: lower).
    subgroup : str or None
        Whose images it is of; None is everybody.
    value, low, high : float or None
        With the interval the rule looks at.
    above, below : float or None
        Where the interval must lie; of SUBGROUP, above which its upper end must lie.
    patients, wanted : int or None
        Of the class in question: how many there are, and with how many the margin can well be told.
    words : str
        The same for a person.
    """

    rule: Rule
    standing: Standing
    words: str
    figure: Figure | None = None
    against: Against | None = None
    subgroup: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    patients: int | None = None
    wanted: int | None = None


class Decision(Stored):
    """One night's decision, with everything needed to read it later.

    Attributes
    ----------
    reason : str
        One paragraph for a person.
    findings : tuple of Finding
        Of every rule that was looked at; those about the input alone where one of them is broken.
    becomes_anchor : bool
        Whether a promoted challenger is from now on the best model there
        ever was: it has lost nothing to the anchor in sensitivity, specificity or AUC.
    alpha : float
        What the night could spend on superiority.
    spending : Spending
        What is carried to the next night.
    challenger, champion, anchor : str
        Digests of their bundles.
    images, patients, ill_images, ill_patients : int
        Of the test set; `ill_…` with pneumonia.
    """

    night: date
    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    becomes_anchor: bool
    alpha: float
    spending: Spending
    rules: Rules
    challenger: str
    champion: str
    anchor: str
    images: int
    patients: int
    ill_images: int
    ill_patients: int

    def of(self, standing: Standing) -> tuple[Finding, ...]:
        """Return the findings that came out so."""
        return tuple(finding for finding in self.findings if finding.standing is standing)
