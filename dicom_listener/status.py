"""What we answer to a C-STORE request: every status this product sends, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
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


class StoreStatus(Enum):
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

    @property
    def code(self) -> int:
        """Return the value of (0000,0900) *Status*."""
        return self.value.code

    @property
    def comment(self) -> str:
        """Return the value of (0000,0902) *Error Comment*."""
        return self.value.comment
