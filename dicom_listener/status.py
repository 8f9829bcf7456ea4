"""Every status that this product answers to a request, in one table: C-STORE, C-ECHO, N-ACTION, and all others.

A refusal says why in its *Error Comment*, in words that are the same for every
peer: nothing received is quoted. 0xC211, which libraries answer when a handler
fails, is not among them: a service that fails answers "not now".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

LONGEST_COMMENT: Final = 64  # (0000,0902) Error Comment is LO


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the words that go with it.

    Attributes
    ----------
    code : int
        (0000,0900) *Status*.
    comment : str
        (0000,0902) *Error Comment*, at most 64 characters, the same for every
        peer and free of received text.
    source : str
        Where the standard defines the status.
    """

    code: int
    comment: str
    source: str


class Status(Enum):
    """What the tables below have in common: each member's value is an `Answer`."""

    @property
    def answer(self) -> Answer:
        """Return what to answer."""
        answer: Answer = self.value
        return answer

    @property
    def code(self) -> int:
        """Return the value of (0000,0900) *Status*."""
        return self.answer.code

    @property
    def comment(self) -> str:
        """Return the value of (0000,0902) *Error Comment*."""
        return self.answer.comment


@unique
class StoreStatus(Status):
    """The answers to C-STORE.

    ``0xA7xx`` says "not now": nothing is wrong with the instance and sending it
    again may succeed. All others say "not like this".

    References
    ----------
    DICOM PS3.4 B.2.3, Table B.2-1; PS3.7 9.1.1.1.9 and Annex C.
    """

    STORED = Answer(0x0000, "", "PS3.4 B.2.3, Success: durable in the spool")
    NO_SPACE = Answer(0xA700, "Free disk space is below the watermark; send again later", "PS3.4 B.2.3, A7xx")
    CANNOT_STORE = Answer(0xA700, "Cannot store now; send again later", "PS3.4 B.2.3, A7xx")
    MISMATCH = Answer(0xA900, "SOP class or instance of data set and command differ", "PS3.4 B.2.3, A9xx")
    NO_UIDS = Answer(0xA900, "Data set lacks its SOP Class or Instance UID", "PS3.4 B.2.3, A9xx")
    EMPTY = Answer(0xC000, "Data set is empty", "PS3.4 B.2.3, Cxxx")
    UNPARSABLE = Answer(0xC000, "Data set cannot be parsed", "PS3.4 B.2.3, Cxxx")
    TRUNCATED = Answer(0xC000, "Data set ends before its declared lengths", "PS3.4 B.2.3, Cxxx")
    BAD_INSTANCE_UID = Answer(0x0117, "Affected SOP Instance UID is not a valid UID", "PS3.7 Annex C, 0117H")
    WRONG_CLASS = Answer(0x0122, "SOP class is not the presentation context's", "PS3.7 Annex C, 0122H")


@unique
class EchoStatus(Status):
    """The answers to C-ECHO.

    References
    ----------
    DICOM PS3.4 Annex A; PS3.7 9.1.5.1.4 and Annex C.
    """

    ANSWERED = Answer(0x0000, "", "PS3.7 9.1.5.1.4, Success")
    WRONG_CLASS = Answer(0x0122, "SOP class is not the presentation context's", "PS3.7 9.1.5.1.4, 0122H")


@unique
class ActionStatus(Status):
    """The answers to N-ACTION, a request for storage commitment.

    Success says that the request itself is durable; what became of the
    instances it names is reported on another association. `CANNOT_TAKE` and
    `NO_SPACE` say "not now", all others "not like this".

    References
    ----------
    DICOM PS3.4 J.3.2 (no status of its own); PS3.7 10.1.4.1.10 and Annex C.
    """

    TAKEN = Answer(0x0000, "", "PS3.7 10.1.4.1.10, Success: the request is durable in the spool")
    CANNOT_TAKE = Answer(0x0110, "Cannot take the request now; send again later", "PS3.7 10.1.4.1.10, 0110H")
    NO_SPACE = Answer(0x0213, "Free disk space is below the watermark; send again later", "PS3.7 10.1.4.1.10, 0213H")
    TOO_LARGE = Answer(0x0213, "More instances than one request may name", "PS3.7 10.1.4.1.10, 0213H")
    NO_SUCH_INSTANCE = Answer(
        0x0112, "SOP instance is not the well-known one of storage commitment", "PS3.7 10.1.4.1.10, 0112H"
    )
    BAD_INSTANCE_UID = Answer(0x0117, "Requested SOP Instance UID is not a valid UID", "PS3.7 10.1.4.1.10, 0117H")
    WRONG_CLASS = Answer(0x0118, "SOP class is not the presentation context's", "PS3.7 10.1.4.1.10, 0118H")
    NO_SUCH_ACTION = Answer(0x0123, "The only action is 1, request storage commitment", "PS3.7 10.1.4.1.10, 0123H")
    NOT_AUTHORISED = Answer(
        0x0124, "No report address is known for this AE title and address", "PS3.7 10.1.4.1.10, 0124H"
    )
    EMPTY = Answer(0x0115, "Action Information is missing", "PS3.7 10.1.4.1.10, 0115H")
    UNPARSABLE = Answer(0x0115, "Action Information cannot be parsed", "PS3.7 10.1.4.1.10, 0115H")
    BAD_TRANSACTION_UID = Answer(0x0115, "Transaction UID is missing or not a valid UID", "PS3.7 10.1.4.1.10, 0115H")
    NO_REFERENCES = Answer(0x0115, "Referenced SOP Sequence is missing or empty", "PS3.7 10.1.4.1.10, 0115H")
    BAD_REFERENCE = Answer(
        0x0115, "A referenced SOP Class or Instance UID is not a valid UID", "PS3.7 10.1.4.1.10, 0115H"
    )
    MISTYPED = Answer(0x0212, "An argument is not of the type agreed for it", "PS3.7 10.1.4.1.10, 0212H")


@unique
class UnservedStatus(Status):
    """The answers to a request that its presentation context has no service for.

    References
    ----------
    DICOM PS3.7 Annex C.
    """

    UNRECOGNISED = Answer(0x0211, "This presentation context does not serve that operation", "PS3.7 Annex C, 0211H")


# in the order a conformance statement tells of them
TABLES: Final[dict[str, type[Status]]] = {
    "C-STORE": StoreStatus,
    "C-ECHO": EchoStatus,
    "N-ACTION": ActionStatus,
    "any other": UnservedStatus,
}
