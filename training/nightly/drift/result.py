"""What a look for drift answers: a level, and what every measure found, in figures and in words. Stored as JSON."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Final

from training.nightly.drift.rules import Rules
from training.nightly.stored import Stored


class Level(StrEnum):
    """How far the last weeks are from the reference; of a look, the gravest of its measures'.

    UNTOLD: there is too little, or nothing like, to compare with.
    """

    UNTOLD = "UNTOLD"
    NONE = "NONE"
    NOTICE = "NOTICE"
    STRONG = "STRONG"


class Statistic(StrEnum):
    """By what a measure says how far: population stability index, Kolmogorov and Smirnov's distance, Cohen's h."""

    PSI = "psi"
    KS = "ks"
    H = "h"


class Name(StrEnum):
    """What is measured."""

    SCORE = "score"
    """How the model's scores are distributed."""
    SCORE_DISTANCE = "score_distance"
    """The same by the largest distance of the two distributions, which no choice of bins can hide."""
    FLAGGED = "flagged"
    """Studies with a flag that is about what the model saw."""
    UNFAMILIARITY = "unfamiliarity"
    """How unlike the training data images are."""
    UNFAMILIAR = "unfamiliar"
    """Images past the model's bound for that."""
    NO_RESULT = "no_result"
    """Images in scope without result for another reason than being unfamiliar."""
    SCOPE = "scope"
    """What is in scope, and for which reasons the rest is not."""
    BRIGHTNESS = "brightness"
    """Median grey of a master, 0 black to 1 white."""
    CONTRAST = "contrast"
    """From its first percentile to its 99th."""
    SHARPNESS = "sharpness"
    """Mean step from pixel to pixel, as a share of the contrast."""
    DEVICE = "device"
    """Manufacturer (0008,0070)."""
    CALLING_AE = "calling_ae"
    """Sending AE title."""
    VIEW = "view"
    SEX = "sex"
    AGE = "age"
    CONFIRMED = "confirmed"
    """SUSPECTED studies on which readers who could see that say pneumonia."""
    CLEARED = "cleared"
    """NOT_SUSPECTED studies on which such readers say no pneumonia."""
    CONFIRMED_BLIND = "confirmed_blind"
    CLEARED_BLIND = "cleared_blind"


STATISTIC: Final[dict[Name, Statistic]] = dict.fromkeys(Name, Statistic.PSI) | {
    Name.SCORE_DISTANCE: Statistic.KS,
    **dict.fromkeys(
        (
            Name.FLAGGED,
            Name.UNFAMILIAR,
            Name.NO_RESULT,
            Name.CONFIRMED,
            Name.CLEARED,
            Name.CONFIRMED_BLIND,
            Name.CLEARED_BLIND,
        ),
        Statistic.H,
    ),
}
# what another model would answer otherwise: compared only where the same one answered in both periods
OF_MODEL: Final = frozenset(
    {
        Name.SCORE,
        Name.SCORE_DISTANCE,
        Name.FLAGGED,
        Name.UNFAMILIARITY,
        Name.UNFAMILIAR,
        Name.CONFIRMED,
        Name.CLEARED,
        Name.CONFIRMED_BLIND,
        Name.CLEARED_BLIND,
    }
)
OF_STUDIES: Final = frozenset({Name.FLAGGED, Name.CONFIRMED, Name.CLEARED, Name.CONFIRMED_BLIND, Name.CLEARED_BLIND})


class Period(Stored):
    """Days by UTC, both included; `studies` first received in them, of which `looked_at` were looked at."""

    first: date
    last: date
    studies: int
    looked_at: int


class Measure(Stored):
    """What one measure found.

    Attributes
    ----------
    words : str
        The same for a person.
    value : float or None
        By its statistic; None where a period has nothing of it.
    notice, strong : float or None
        From where on it is the one or the other, with what chance gives among so few; of H for either direction.
    reference_count, recent_count : int
        Images, or studies where it is about studies.
    reference_worth, recent_worth : int
        How many patients with one each would tell as much.
    edges : tuple of float or None
        Of a distribution: the ends of its bins, one more than there are shares. A value that is common has a bin of
        its own, as good as without width.
    categories : tuple of str or None
        Of the others: what the shares are of. Some of it is text as received.
    reference_shares, recent_shares : tuple of float
        Of each bin or category; empty where there is nothing to draw.
    """

    name: Name
    statistic: Statistic
    level: Level
    words: str
    value: float | None = None
    notice: float | None = None
    strong: float | None = None
    reference_count: int
    recent_count: int
    reference_worth: int
    recent_worth: int
    edges: tuple[float, ...] | None = None
    categories: tuple[str, ...] | None = None
    reference_shares: tuple[float, ...] = ()
    recent_shares: tuple[float, ...] = ()


class Drift(Stored):
    """One look for drift, with everything needed to read it later.

    Attributes
    ----------
    today : date
        The first day that was not looked at.
    blocks : bool
        Whether nothing may be promoted while this stands.
    words : str
        One paragraph for a person.
    model : str or None
        Name and version of the champion, whose answers are compared.
    reference, recent : Period or None
        None while no reference is set.
    """

    today: date
    level: Level
    blocks: bool
    words: str
    model: str | None = None
    reference: Period | None = None
    recent: Period | None = None
    measures: tuple[Measure, ...] = ()
    rules: Rules

    def of(self, level: Level) -> tuple[Measure, ...]:
        """Return the measures that came out so."""
        return tuple(measure for measure in self.measures if measure.level is level)
