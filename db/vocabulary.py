"""The words the ledger stores, and which state may follow which.

Every vocabulary is stored by value and held by a CHECK constraint.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from core.errors import LungwatchError


class ReceiptState(StrEnum):
    """What became of one acknowledged instance. All but PENDING are terminal."""

    PENDING = "PENDING"
    CLASSIFIED = "CLASSIFIED"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    DUPLICATE = "DUPLICATE"
    HEADER_REVISION = "HEADER_REVISION"
    CONFLICT = "CONFLICT"
    QUARANTINED = "QUARANTINED"


LEGAL_MOVES: Final[dict[ReceiptState, frozenset[ReceiptState]]] = {
    # docs/architecture.md, "A receipt's life". A person may put a quarantined one back (`quarantine retry`).
    ReceiptState.PENDING: frozenset(set(ReceiptState) - {ReceiptState.PENDING}),
    ReceiptState.CLASSIFIED: frozenset(),
    ReceiptState.OUT_OF_SCOPE: frozenset(),
    ReceiptState.DUPLICATE: frozenset(),
    ReceiptState.HEADER_REVISION: frozenset(),
    ReceiptState.CONFLICT: frozenset(),
    ReceiptState.QUARANTINED: frozenset({ReceiptState.PENDING}),
}
TERMINAL: Final = frozenset(set(ReceiptState) - {ReceiptState.PENDING})
# nothing may follow these: what is in quarantine may be put back to work and needs its file
FINAL: Final = frozenset(state for state, following in LEGAL_MOVES.items() if not following)
# a receipt of the same image in one of these states, earlier or later, makes good for an unreadable one
GOOD_STATES: Final = (ReceiptState.CLASSIFIED, ReceiptState.HEADER_REVISION, ReceiptState.OUT_OF_SCOPE)


class IllegalMove(LungwatchError):
    """A state would follow one that it may not follow."""


def check_move(old: ReceiptState, new: ReceiptState) -> None:
    """Raise `IllegalMove` unless `new` may follow `old`."""
    if new not in LEGAL_MOVES[old]:
        message = f"a receipt that is {old} cannot become {new}; only one in quarantine can be put back to work"
        raise IllegalMove(message)


class CommitmentState(StrEnum):
    """What became of one request for storage commitment. All but PENDING are terminal."""

    PENDING = "PENDING"
    REPORTED = "REPORTED"
    GAVE_UP = "GAVE_UP"


class Unreported(StrEnum):
    """Why a request for storage commitment was not reported, the last time it was tried."""

    UNREADABLE = "UNREADABLE"
    """What was requested cannot be read."""
    MISSING_FILE = "MISSING_FILE"
    """The spooled request is gone."""
    NO_ADDRESS = "NO_ADDRESS"
    """The peers file names no place to report to."""
    UNREACHABLE = "UNREACHABLE"
    """No association, or it ended before the answer."""
    REFUSED = "REFUSED"
    """The peer answered the report with another status than 0x0000."""


class Outcome(StrEnum):
    """What we say of an image or a study. Never "normal"."""

    SUSPECTED = "SUSPECTED"
    NOT_SUSPECTED = "NOT_SUSPECTED"
    NO_RESULT = "NO_RESULT"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    PENDING = "PENDING"


# A study takes the first of these that any of its images has: a missing result must never hide behind a negative.
OUTCOME_PRECEDENCE: Final = (
    Outcome.SUSPECTED,
    Outcome.NO_RESULT,
    Outcome.PENDING,
    Outcome.NOT_SUSPECTED,
    Outcome.OUT_OF_SCOPE,
)


class FlagKind(StrEnum):
    """Why a study waits for a reader."""

    SUSPECTED = "SUSPECTED"
    UNCERTAIN = "UNCERTAIN"
    UNFAMILIAR = "UNFAMILIAR"
    POOR_IMAGE = "POOR_IMAGE"
    CONFLICT = "CONFLICT"
    NO_RESULT = "NO_RESULT"
    OVERDUE = "OVERDUE"
    AUDIT = "AUDIT"


# Smaller is sooner. OVERDUE is computed by the views from `receipt.due_at`, so it shows even when nothing runs.
FLAG_PRIORITY: Final[dict[FlagKind, int]] = {
    FlagKind.SUSPECTED: 10,
    FlagKind.OVERDUE: 20,
    FlagKind.NO_RESULT: 30,
    FlagKind.CONFLICT: 40,
    FlagKind.UNCERTAIN: 50,
    FlagKind.UNFAMILIAR: 60,
    FlagKind.POOR_IMAGE: 70,
    # an AUDIT flag has a priority of its own, so that it does not tell: `worker.audit`
    FlagKind.AUDIT: 80,
}
# A reader who is to judge blindly may see these beside AUDIT: they tell nothing of the score.
BLIND_FLAGS: Final = (FlagKind.OVERDUE, FlagKind.CONFLICT, FlagKind.POOR_IMAGE, FlagKind.AUDIT)


class Urgency(StrEnum):
    """In which order receipts are claimed."""

    URGENT = "URGENT"
    ROUTINE = "ROUTINE"
    RESCORE = "RESCORE"


URGENCY_RANK: Final[dict[Urgency, int]] = {Urgency.URGENT: 0, Urgency.ROUTINE: 10, Urgency.RESCORE: 20}


class ProcessKind(StrEnum):
    """Who writes heartbeats."""

    LISTENER = "LISTENER"
    REGISTRAR = "REGISTRAR"
    WORKER = "WORKER"
    BEAT = "BEAT"


class ModelOrigin(StrEnum):
    """Where a model version came from."""

    STARTER = "STARTER"
    TRAINED = "TRAINED"


class DataLayout(StrEnum):
    """How an imported data set said what its images are; docs/data.md."""

    PUBLISHED = "PUBLISHED"
    CLASS_FOLDERS = "CLASS_FOLDERS"
    TABLE = "TABLE"


class PublishedSplit(StrEnum):
    """The part of a data set that whoever published it put an image in."""

    TRAIN = "TRAIN"
    VAL = "VAL"
    TEST = "TEST"


class ImageClass(StrEnum):
    """What an image is labelled as for training."""

    NORMAL = "NORMAL"
    PNEUMONIA = "PNEUMONIA"


class Use(StrEnum):
    """What an image of a data set may be used for; `training.datasets.patients.Split` says how it is decided."""

    FIT = "FIT"
    WATCH = "WATCH"
    VALIDATION = "VALIDATION"
    TEST = "TEST"
    RESERVED = "RESERVED"
    DROPPED = "DROPPED"
    """The same picture is held out under another patient."""


class LabelOrigin(StrEnum):
    """What a label was made from."""

    IMPORTED = "IMPORTED"
    VERDICT = "VERDICT"


class VerdictKind(StrEnum):
    """What a reader said of a study."""

    PNEUMONIA = "PNEUMONIA"
    NO_PNEUMONIA = "NO_PNEUMONIA"
    OTHER_ABNORMAL = "OTHER_ABNORMAL"
    """Abnormal, and no pneumonia."""
    INDETERMINATE = "INDETERMINATE"
    """The reader could not tell; whoever waits for a verdict still does."""
    UNREADABLE = "UNREADABLE"
    NOT_A_CHEST = "NOT_A_CHEST"


class VerdictOrigin(StrEnum):
    """How a verdict came into the ledger."""

    COMMAND = "COMMAND"
    FILE = "FILE"
    PAGE = "PAGE"


class Side(StrEnum):
    """On which side of training a patient is, for good."""

    FIT = "FIT"
    WATCH = "WATCH"
    """Of the training patients those that choose the epoch."""
    VALIDATION = "VALIDATION"
    """Sets calibration and threshold."""
    HELD_OUT = "HELD_OUT"
    """Only ever scored; in the frozen test set from when somebody adds them to it."""


class Share(StrEnum):
    """Which share of the frozen test set a picture is in, by its patient."""

    TEST = "TEST"
    SEALED = "SEALED"
    """Opened once a quarter at most, and counted."""


class NightKind(StrEnum):
    """What a night does."""

    EVALUATE = "EVALUATE"
    """Examine the champion again: too few new labels to learn from."""
    FINE_TUNE = "FINE_TUNE"
    FROM_SCRATCH = "FROM_SCRATCH"


class NightState(StrEnum):
    """How a night ended. All but RUNNING are final."""

    RUNNING = "RUNNING"
    EVALUATED = "EVALUATED"
    """The champion was examined, and nothing trained."""
    KEPT = "KEPT"
    SHADOWED = "SHADOWED"
    """The challenger passed, and now scores live studies without being shown."""
    PROMOTED = "PROMOTED"
    CONTINUES = "CONTINUES"
    """Time ran out while fitting; a later night goes on with it."""
    FAILED = "FAILED"


class NightStep(StrEnum):
    """Steps of a night, in order."""

    SNAPSHOT = "SNAPSHOT"
    TRAIN = "TRAIN"
    EXAMINE = "EXAMINE"
    DRIFT = "DRIFT"
    DECIDE = "DECIDE"
    PROMOTE = "PROMOTE"
    REPORT = "REPORT"


class ExaminedOn(StrEnum):
    """What a model was examined on."""

    TEST = "TEST"
    """The frozen test set."""
    RECENT = "RECENT"
    """The newest reviewed weeks, patients held out."""
    SEALED = "SEALED"


class ChangeKind(StrEnum):
    """What was changed of the champion."""

    INSTALLED = "INSTALLED"
    """There was none before."""
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"
    ANCHORED = "ANCHORED"
    """It stayed; a person named another anchor."""


class RescoringState(StrEnum):
    """What became of an image that is to be scored again. All but WAITING are terminal."""

    WAITING = "WAITING"
    DONE = "DONE"
    SKIPPED = "SKIPPED"


class Unscored(StrEnum):
    """Why an image that waited to be scored again was not."""

    SUPERSEDED = "SUPERSEDED"
    """The model it waited for is no longer champion."""
    REVIEWED = "REVIEWED"
    """A reader has judged the study as it stands."""
    NOT_IN_FORCE = "NOT_IN_FORCE"
    """The image is out of scope now, or has no pixels that were classified."""
    SCORED = "SCORED"
    """The model has judged the image as it stands, when it was received."""
    PIXELS_GONE = "PIXELS_GONE"
    """The master was removed or is damaged."""
    GAVE_UP = "GAVE_UP"
    """Started as often as an image may be."""
