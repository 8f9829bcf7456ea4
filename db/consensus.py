"""What several readers said of one study, taken together. Pure, and in one place: labels and audit rest on it.

Of each reader the latest verdict stands (by when it was read, then by when it
was entered). INDETERMINATE says nothing, for or against. Of those that say
something, more than half must say the same of pneumonia; otherwise the study is
in dispute until another reader decides. `db.answering` has the same rule of what
stands, in SQL, and `db.disputes` that of what is in dispute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from db.vocabulary import VerdictKind


class Finding(StrEnum):
    """What readers say of pneumonia together."""

    PNEUMONIA = "PNEUMONIA"
    NO_PNEUMONIA = "NO_PNEUMONIA"
    UNUSABLE = "UNUSABLE"
    """There is nothing to tell it from: unreadable, or no chest."""
    DISPUTED = "DISPUTED"
    """No answer has more than half of the readers who gave one."""
    UNDECIDED = "UNDECIDED"
    """Nobody gave one."""


SAYS: Final[dict[VerdictKind, Finding]] = {
    VerdictKind.PNEUMONIA: Finding.PNEUMONIA,
    VerdictKind.NO_PNEUMONIA: Finding.NO_PNEUMONIA,
    VerdictKind.OTHER_ABNORMAL: Finding.NO_PNEUMONIA,
    VerdictKind.UNREADABLE: Finding.UNUSABLE,
    VerdictKind.NOT_A_CHEST: Finding.UNUSABLE,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One verdict, as far as it counts.

    Attributes
    ----------
    verdict_id : int
        Counts up as verdicts are entered.
    read_at : datetime
        Aware.
    model_visible : bool
        Whether the reader could see what the model said.
    """

    verdict_id: int
    reader: str
    read_at: datetime
    verdict: VerdictKind
    model_visible: bool


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the readers of one study revision say together.

    Attributes
    ----------
    otherwise_abnormal : bool
        With NO_PNEUMONIA: not fewer of those who say so saw something else than saw nothing.
    unanimous : bool
        Nobody who gave an answer gave another.
    standing : tuple of Reading
        The latest verdict of each reader, by verdict number.
    """

    finding: Finding
    otherwise_abnormal: bool
    unanimous: bool
    standing: tuple[Reading, ...]


def standing(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """Return of each reader the verdict that no later one of his own replaced, by verdict number."""
    latest: dict[str, Reading] = {}
    for reading in sorted(readings, key=lambda one: (one.read_at, one.verdict_id)):
        latest[reading.reader] = reading
    return tuple(sorted(latest.values(), key=lambda one: one.verdict_id))


def consensus(readings: Iterable[Reading]) -> Consensus:
    """Take together what was said of one study revision; the order does not matter.

    Parameters
    ----------
    readings : iterable of Reading
        All verdicts on one revision of one study, replaced ones among them.
    """
    stand = standing(readings)
    said = [SAYS[one.verdict] for one in stand if one.verdict in SAYS]
    return Consensus(
        finding=_finding(said),
        otherwise_abnormal=_otherwise_abnormal(stand),
        unanimous=len(set(said)) <= 1,
        standing=stand,
    )


def _finding(said: Sequence[Finding]) -> Finding:
    if not said:
        return Finding.UNDECIDED
    finding, votes = Counter(said).most_common(1)[0]
    return finding if 2 * votes > len(said) else Finding.DISPUTED


def _otherwise_abnormal(stand: Sequence[Reading]) -> bool:
    counts = Counter(one.verdict for one in stand)
    return 0 < counts[VerdictKind.OTHER_ABNORMAL] >= counts[VerdictKind.NO_PNEUMONIA]
