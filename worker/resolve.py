"""What a delivery means for an instance we may know already: pure, one table, promise 5."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from db.vocabulary import Outcome
from imaging.reasons import Rejection


class Resolution(StrEnum):
    """How a delivery changes what is in force for its SOP instance."""

    FIRST = "FIRST"
    """Nothing was known: what was read comes into force."""
    REPLACE = "REPLACE"
    """What was known gave no result: what was read comes into force as a new revision."""
    DUPLICATE = "DUPLICATE"
    """The same bytes again: nothing changes."""
    HEADER_REVISION = "HEADER_REVISION"
    """Other bytes, same pixels: attributes and scope change, the score stays."""
    CONFLICT = "CONFLICT"
    """Other pixels, another study or another kind of object: the first stays in force and a person is told."""
    UNREADABLE = "UNREADABLE"
    """A later version that cannot be read: the first stays in force and a person is told."""


# the resolutions that let a delivery change what the ledger says of its study and image
COMES_INTO_FORCE: Final = frozenset({Resolution.FIRST, Resolution.REPLACE, Resolution.HEADER_REVISION})


class Nature(StrEnum):
    """What reading a delivery gave."""

    MASTER = "MASTER"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Pixels:
    """Digests that tell whether two deliveries show the same image; None where not known."""

    master: str | None = None
    decoded: str | None = None
    model_input: str | None = None

    @property
    def known(self) -> bool:
        """Whether the image was decoded."""
        return any(digest is not None for digest in (self.master, self.decoded, self.model_input))

    def same_as(self, other: Pixels) -> bool:
        """Whether any digest both sides know is equal."""
        pairs = (
            (self.master, other.master),
            (self.decoded, other.decoded),
            (self.model_input, other.model_input),
        )
        return any(mine is not None and mine == theirs for mine, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Compared:
    """Two deliveries of one instance, decoded in full because what was decoded of them cannot tell them apart.

    Attributes
    ----------
    in_force_sha256 : str
        Digest of the file that was in force when they were compared.
    first, second : Pixels
        What was in force, and what came now. Where the first's file is gone, what the ledger holds of it and what
        was decoded of the second in the same way. The second without digests where the first's file is there but
        helpers fail on it at each attempt: nothing shows that they are the same.
    """

    in_force_sha256: str
    first: Pixels
    second: Pixels


@dataclass(frozen=True, slots=True)
class InForce:
    """What the ledger holds for one SOP instance."""

    study_uid: str
    sop_class_uid: str
    outcome: Outcome
    reason: str | None
    dataset_sha256: str | None
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one receipt brought.

    Attributes
    ----------
    is_image : bool
        False for what is out of scope because it holds no image at all.
    put_back : bool
        A person put this very receipt back from quarantine: it is no duplicate of itself.
    """

    study_uid: str
    sop_class_uid: str
    nature: Nature
    dataset_sha256: str | None
    pixels: Pixels = Pixels()
    is_image: bool = True
    put_back: bool = False


_RESULTS: Final = frozenset({Outcome.SUSPECTED, Outcome.NOT_SUSPECTED})
# These say something of the day, not of the bytes: the same bytes sent again deserve another look.
_PASSING: Final = frozenset(
    {
        Rejection.CRASHED,
        Rejection.OUT_OF_MEMORY,
        Rejection.TIMED_OUT,
        Rejection.INFERENCE_FAILED,
        Rejection.MISSING_FILE,
    }
)


def is_duplicate(in_force: InForce, dataset_sha256: str | None, *, put_back: bool) -> bool:
    """Whether the same bytes were disposed of for good; may be asked before anything is decoded."""
    if put_back or not _same_bytes(in_force, dataset_sha256):
        return False
    if in_force.outcome is Outcome.PENDING:
        return False
    return in_force.outcome is not Outcome.NO_RESULT or in_force.reason not in _PASSING


def needs_pixels(in_force: InForce | None, nature: Nature) -> bool:
    """Whether an out-of-scope delivery must be decoded after all.

    It would take the place of an image that was decoded. Only the same image
    under a corrected header may do that; another object under a reused UID may not.
    """
    return nature is Nature.OUT_OF_SCOPE and in_force is not None and in_force.pixels.known


def needs_every_pixel(in_force: InForce | None, delivered: Delivered) -> bool:
    """Whether only a full decode can tell if two deliveries of one study's instance show the same image.

    A master made at reduced resolution may be the same for pixels that are not, and differs between transfer
    syntaxes for pixels that are the same. The same bytes need no proof.
    """
    if in_force is None or in_force.study_uid != delivered.study_uid:
        return False
    if _same_bytes(in_force, delivered.dataset_sha256):
        return False
    sides = (in_force.pixels, delivered.pixels)
    return all(side.known for side in sides) and any(side.decoded is None for side in sides)


def resolve(in_force: InForce | None, delivered: Delivered) -> Resolution:
    """Decide what a delivery means; the first that was decoded stays in force unless its pixels came again.

    Parameters
    ----------
    in_force : InForce or None
        None if the SOP instance was never seen.
    delivered : Delivered
        What was read now.
    """
    if in_force is None:
        return Resolution.FIRST
    if is_duplicate(in_force, delivered.dataset_sha256, put_back=delivered.put_back):
        return Resolution.DUPLICATE
    if in_force.study_uid != delivered.study_uid:
        return Resolution.CONFLICT
    if in_force.pixels.known:
        return _of_decoded(in_force, delivered)
    same_class = in_force.sop_class_uid == delivered.sop_class_uid
    if in_force.outcome is Outcome.OUT_OF_SCOPE:
        # an object of another class is no copy of this one: that this one was read says nothing of that one
        unreadable_copy = delivered.nature is Nature.REJECTED and same_class
        return Resolution.UNREADABLE if unreadable_copy else Resolution.REPLACE
    # an image that could not be read: only a copy of it may make good for that
    return Resolution.REPLACE if same_class and delivered.is_image else Resolution.CONFLICT


def _of_decoded(in_force: InForce, delivered: Delivered) -> Resolution:
    """Resolve a delivery of an image whose pixels were seen, whether or not they gave a result."""
    if delivered.nature is Nature.REJECTED:
        return Resolution.UNREADABLE
    # the same bytes are the same pixels, whatever another release's decoder makes of them
    if not _same_bytes(in_force, delivered.dataset_sha256) and not in_force.pixels.same_as(delivered.pixels):
        return Resolution.CONFLICT
    return Resolution.HEADER_REVISION if in_force.outcome in _RESULTS else Resolution.REPLACE


def _same_bytes(in_force: InForce, dataset_sha256: str | None) -> bool:
    return dataset_sha256 is not None and in_force.dataset_sha256 == dataset_sha256
