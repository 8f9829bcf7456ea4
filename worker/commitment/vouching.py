"""What we vouch for, one reference at a time: pure, but for asking whether a file is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final, Self

from core.commitment_request import Reference
from db.commitments import Copy
from db.vocabulary import ReceiptState


class FailureReason(IntEnum):
    """Why an instance is not committed: (0008,1197), PS3.3 C.14.1.1.

    Attributes
    ----------
    meaning : str
        For a person; the conformance statement has it.
    """

    meaning: str

    PROCESSING_FAILURE = 0x0110, "It came, but could not be read, or was not read in time"
    NO_SUCH_INSTANCE = 0x0112, "It never came, or its file is gone, by policy or otherwise"
    CLASS_INSTANCE_CONFLICT = 0x0119, "It is here as an object of another SOP class"

    def __new__(cls, number: int, meaning: str) -> Self:
        """Make a member that is its number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member


class Standing(Enum):
    """What else may be said of a reference."""

    HELD = auto()
    """We have it, durable and read: committed."""
    UNDECIDED = auto()
    """It may be on its way."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is told to the peer.

    Attributes
    ----------
    transaction_uid : str
        Of the request.
    committed : tuple of Reference
    failed : tuple of (Reference, FailureReason)
        Together with `committed` all references of the request.
    """

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, FailureReason], ...]


# a header of each of these was read, and what it says was kept
_READ: Final = frozenset(
    {ReceiptState.CLASSIFIED, ReceiptState.OUT_OF_SCOPE, ReceiptState.HEADER_REVISION, ReceiptState.CONFLICT}
)


def stand(
    reference: Reference,
    copies: Sequence[Copy],
    is_there: Callable[[Copy], bool],
    *,
    all_known: bool,
    in_time: bool,
) -> Standing | FailureReason:
    """Say how we stand to one reference.

    Parameters
    ----------
    reference : Reference
    copies : sequence of Copy
        All receipts of this SOP instance, whatever their class.
    is_there : callable
        Whether a copy's file is on disk.
    all_known : bool
        Whether all that was received before the request was looked through.
    in_time : bool
        Whether the request may wait for what is undecided.
    """
    same = [copy for copy in copies if copy.sop_class_uid == reference.sop_class_uid]
    quarantined = [copy for copy in same if copy.state is ReceiptState.QUARANTINED]
    # a duplicate is as good as what it repeats, which may have been unreadable
    good = _READ if quarantined else _READ | {ReceiptState.DUPLICATE}
    if any(copy.state in good and is_there(copy) for copy in same):
        return Standing.HELD
    pending = any(copy.state is ReceiptState.PENDING for copy in same)
    if in_time and (pending or not all_known):
        return Standing.UNDECIDED
    if pending or any(is_there(copy) for copy in quarantined):
        return FailureReason.PROCESSING_FAILURE
    if copies and not same:
        return FailureReason.CLASS_INSTANCE_CONFLICT
    return FailureReason.NO_SUCH_INSTANCE
