"""Do a data set's lengths add up, and which instance does it say it is? No value is decoded.

A complete message may carry a data set that was cut short, is not DICOM at
all, or belongs to another instance than the command says. Walking from
element to element by their lengths finds all three in well under a
millisecond and needs no parser of values. What passes may still be nonsense;
that is for the worker to find, behind its limits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from core.part10 import SHORT_FORM
from core.uids import LONGEST_UID

_UNDEFINED: Final = 0xFFFFFFFF
_DELIMITERS: Final = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_FIRST_GROUP: Final = 0x0008  # PS3.5 7.1: groups 0000 to 0007 do not occur in a data set
_SOP_CLASS_UID: Final = (0x0008, 0x0016)
_SOP_INSTANCE_UID: Final = (0x0008, 0x0018)
_HEADER: Final = 8

MOST_STEPS: Final = 200_000
DEEPEST: Final = 64


class Verdict(StrEnum):
    """What the walk found."""

    SOUND = "SOUND"
    TRUNCATED = "TRUNCATED"
    UNPARSABLE = "UNPARSABLE"
    # more steps or levels than we follow here: the worker judges
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk over a data set tells.

    Attributes
    ----------
    verdict : Verdict
    sop_class_uid, sop_instance_uid : str or None
        (0008,0016) and (0008,0018) of the top level, without padding.
    """

    verdict: Verdict
    sop_class_uid: str | None
    sop_instance_uid: str | None


class _Within(Enum):
    SEQUENCE = auto()
    FRAGMENTS = auto()
    ITEM = auto()


class _Stop(Exception):
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


def survey(data: bytes, *, explicit: bool) -> Survey:
    """Walk over an encoded data set.

    Parameters
    ----------
    data : bytes
        Little endian, not deflated, without file meta.
    explicit : bool
        Whether the negotiated transfer syntax has explicit VRs. Where the
        first element plainly says otherwise the walk follows it: such an
        instance is kept and the worker says what is wrong with it.

    Returns
    -------
    Survey

    References
    ----------
    DICOM PS3.5 7.1 (elements), 7.5 (nesting), A.4 (encapsulated pixel data).
    """
    walk = _Walk(data, explicit=_looks_explicit(data, otherwise=explicit))
    try:
        for _ in range(MOST_STEPS):
            walk.step()
        verdict = Verdict.UNDECIDED
    except _Stop as stop:
        verdict = stop.verdict
    return Survey(verdict, walk.uids.get(_SOP_CLASS_UID), walk.uids.get(_SOP_INSTANCE_UID))


def _looks_explicit(data: bytes, *, otherwise: bool) -> bool:
    vr = data[4:6]
    if len(vr) < 2:  # noqa: PLR2004
        return otherwise
    if vr.isalpha() and vr.isupper():
        # read as an implicit length this would be above 16 kB, in group 0008
        return True
    # an implicit length below 64 kB: its upper half is zero where an explicit VR's length would stand
    return otherwise and data[6:8] != b"\0\0"


class _Walk:
    """Where the walk stands; only things of undefined length are entered, all others are stepped over."""

    def __init__(self, data: bytes, *, explicit: bool) -> None:
        self.data = data
        self.position = 0
        self.uids: dict[tuple[int, int], str] = {}
        self._stack: list[tuple[_Within, bool]] = []
        self._explicit = explicit

    def step(self) -> None:
        """Pass one element, item or delimiter; raise `_Stop` at the end."""
        left = len(self.data) - self.position
        if left < _HEADER:
            if self._stack or any(self.data[self.position :]):
                raise _Stop(Verdict.TRUNCATED)
            raise _Stop(Verdict.SOUND)
        group, element = struct.unpack_from("<HH", self.data, self.position)
        if group == _DELIMITERS:
            self._delimiter(element)
        else:
            self._element(group, element)

    def _delimiter(self, element: int) -> None:
        (length,) = struct.unpack_from("<L", self.data, self.position + 4)
        self.position += _HEADER
        within = self._stack[-1][0] if self._stack else None
        match element:
            case 0xE000 if within is _Within.SEQUENCE and length == _UNDEFINED:
                self._enter(_Within.ITEM, explicit=self._stack[-1][1])
            case 0xE000 if within in {_Within.SEQUENCE, _Within.FRAGMENTS} and length != _UNDEFINED:
                self._skip(length)
            case 0xE00D if within is _Within.ITEM:
                self._stack.pop()
            case 0xE0DD if within in {_Within.SEQUENCE, _Within.FRAGMENTS}:
                self._stack.pop()
            case _:
                raise _Stop(Verdict.UNPARSABLE)

    def _element(self, group: int, element: int) -> None:
        within, explicit = self._stack[-1] if self._stack else (None, self._explicit)
        if within in {_Within.SEQUENCE, _Within.FRAGMENTS} or (within is None and group < _FIRST_GROUP):
            raise _Stop(Verdict.UNPARSABLE)
        vr, length = self._header(explicit=explicit)
        if length == _UNDEFINED:
            self._enter_undefined(vr, explicit=explicit)
            return
        start = self.position
        self._skip(length)
        if within is None and (group, element) in {_SOP_CLASS_UID, _SOP_INSTANCE_UID} and length <= LONGEST_UID:
            value = self.data[start : self.position].decode("ascii", errors="replace")
            self.uids.setdefault((group, element), value.rstrip("\0 "))

    def _header(self, *, explicit: bool) -> tuple[bytes | None, int]:
        if not explicit:
            (length,) = struct.unpack_from("<L", self.data, self.position + 4)
            self.position += _HEADER
            return None, length
        vr, length = struct.unpack_from("<2sH", self.data, self.position + 4)
        if not (vr.isalpha() and vr.isupper()):
            raise _Stop(Verdict.UNPARSABLE)
        self.position += _HEADER
        # PS3.5 7.1.2: all others, also ones yet to be invented, have the long form
        if vr in SHORT_FORM:
            return vr, length
        if len(self.data) - self.position < 4:  # noqa: PLR2004 - a 32-bit length
            raise _Stop(Verdict.TRUNCATED)
        (length,) = struct.unpack_from("<L", self.data, self.position)
        self.position += 4
        return vr, length

    def _enter_undefined(self, vr: bytes | None, *, explicit: bool) -> None:
        match vr:
            case b"SQ" | None:
                self._enter(_Within.SEQUENCE, explicit=explicit)
            case b"UN":
                # PS3.5 6.2.2 note 2: the content is implicit little endian whatever surrounds it
                self._enter(_Within.SEQUENCE, explicit=False)
            case b"OB" | b"OW":
                self._enter(_Within.FRAGMENTS, explicit=explicit)
            case _:
                raise _Stop(Verdict.UNPARSABLE)

    def _enter(self, within: _Within, *, explicit: bool) -> None:
        if len(self._stack) >= DEEPEST:
            raise _Stop(Verdict.UNDECIDED)
        self._stack.append((within, explicit))

    def _skip(self, length: int) -> None:
        self.position += length
        if self.position > len(self.data):
            raise _Stop(Verdict.TRUNCATED)
