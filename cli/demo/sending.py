"""What the demo is about to send, and what it expects to become of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from PIL import Image
from pydicom.uid import UID

from db.vocabulary import TERMINAL, ReceiptState

THUMBNAIL: Final = 480
_SHORT_NAMES: Final = {
    "1.2.840.10008.1.2": "implicit VR",
    "1.2.840.10008.1.2.1": "explicit VR",
    "1.2.840.10008.1.2.5": "RLE",
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000 lossy",
    "1.2.840.10008.1.2.4.201": "HTJ2K",
    "1.2.840.10008.1.2.4.202": "HTJ2K RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K lossy",
}


@dataclass(frozen=True, slots=True)
class Sending:
    """One instance that will be sent once.

    Attributes
    ----------
    title : str
        What it is, for a person.
    path : Path
        Part 10 file; its data set goes out byte for byte.
    study_uid, sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
        As in the file.
    expected : frozenset of ReceiptState
        States that account for it. Never an outcome: the demo judges no score.
    thumbnail : PIL.Image.Image or None
        Grey, small; None where only the ledger has a picture.
    again : bool
        Goes out only when everything before it is disposed of, as a PACS that sends again later.
    """

    title: str
    path: Path
    study_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    expected: frozenset[ReceiptState] = TERMINAL
    thumbnail: Image.Image | None = field(default=None, repr=False, compare=False)
    again: bool = False

    @property
    def syntax(self) -> str:
        """The transfer syntax in a word or two."""
        return _SHORT_NAMES.get(self.transfer_syntax_uid) or UID(self.transfer_syntax_uid).name
