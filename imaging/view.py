"""Which way the X-rays went through the patient, as far as the header says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom import Dataset

from imaging.elements import items, text, texts


class View(StrEnum):
    """What the scope rules tell apart."""

    AP = "AP"
    PA = "PA"
    UNKNOWN = "UNKNOWN"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class ViewReading:
    """The view, and the word the ledger keeps for it (None where the header is silent)."""

    view: View
    word: str | None


_WORD: Final = re.compile(r"[A-Z]+")
_AP_WORDS: Final = frozenset({"AP", "ANTEROPOSTERIOR"})
_PA_WORDS: Final = frozenset({"PA", "POSTEROANTERIOR"})
_LATERAL_WORDS: Final = frozenset({"LAT", "LATERAL", "LL", "RL", "LLAT", "RLAT", "LLD", "RLD", "SIDE"})
# Written where a technologist chose nothing, or only that the view is frontal.
_SILENT_WORDS: Final = frozenset({"UNKNOWN", "UNK", "UNSPECIFIED", "NONE", "FRONTAL", "N", "A", "NA", "OTHER"})
# PS3.16 CID 4010 DX View, in SNOMED CT and the older SNOMED-RT form
_CODES: Final = {
    ("SCT", "399348003"): View.AP,
    ("SRT", "R-10206"): View.AP,
    ("SNM3", "R-10206"): View.AP,
    ("SCT", "272479007"): View.PA,
    ("SRT", "R-10214"): View.PA,
    ("SNM3", "R-10214"): View.PA,
}


def read_view(dataset: Dataset) -> ViewReading:
    """Read the view.

    ViewPosition (0018,5101) decides; if it is silent, ViewCodeSequence
    (0054,0220); if that is too, a series described as lateral, or whose rows
    run from front to back of the patient (0020,0020), is no frontal view.
    Everything else is unknown.

    Raises
    ------
    RejectedInput
        ``BAD_HEADER`` if one of these elements cannot be read.
    """
    position = text(dataset, "ViewPosition").strip()
    found = _from_words(position)
    if found is not None:
        return found
    for code in items(dataset, "ViewCodeSequence"):
        key = (text(code, "CodingSchemeDesignator").strip().upper(), text(code, "CodeValue").strip().upper())
        if key in _CODES:
            return ViewReading(_CODES[key], _CODES[key].value)
        found = _from_words(text(code, "CodeMeaning"))
        if found is not None:
            return found
    if _is_lateral_by_circumstance(dataset):
        return ViewReading(View.OTHER, "LATERAL")
    return ViewReading(View.UNKNOWN, position or None)


def _from_words(value: str) -> ViewReading | None:
    """Judge a text; None if it says nothing about the direction."""
    # "antero-posterior" and "anteroposterior" are one word
    words = set(_WORD.findall(value.upper().replace("O-", "O")))
    if not words - _SILENT_WORDS:
        return None
    if words & _LATERAL_WORDS:
        return ViewReading(View.OTHER, "LATERAL")
    anterior, posterior = bool(words & _AP_WORDS), bool(words & _PA_WORDS)
    if anterior != posterior:
        view = View.AP if anterior else View.PA
        return ViewReading(view, view.value)
    return ViewReading(View.OTHER, value.strip())


def _is_lateral_by_circumstance(dataset: Dataset) -> bool:
    for keyword in ("SeriesDescription", "ProtocolName"):
        words = set(_WORD.findall(text(dataset, keyword).upper()))
        if words & _LATERAL_WORDS and not words & (_AP_WORDS | _PA_WORDS):
            return True
    orientation = texts(dataset, "PatientOrientation")
    # PS3.3 C.7.6.1.1.1: the first value is the direction of the rows; A or P there is a lateral projection
    return bool(orientation) and orientation[0].strip().upper()[:1] in {"A", "P"}
