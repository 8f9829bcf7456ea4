"""Do a data set's lengths add up, and which instance does it say it is? No value is decoded.

A complete message may carry a data set that was cut short, is not DICOM at
all, or belongs to another instance than the command says. Walking from
element to element by their lengths finds all three in well under a
millisecond and needs no parser of values. The walk is fed whatever fragments
arrive and keeps no more than one UID of them. What passes may still be
nonsense; that is for the worker to find, behind its limits.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from core.part10 import SHORT_FORM
from core.uids import LONGEST_UID
from core.walking import HEADER, LONG_LENGTH, Walker, Want

_UNDEFINED: Final = 0xFFFFFFFF
_DELIMITERS: Final = 0xFFFE
_FIRST_GROUP: Final = 0x0008  # PS3.5 7.1: groups 0000 to 0007 do not occur in a data set
_SOP_CLASS_UID: Final = (0x0008, 0x0016)
_SOP_INSTANCE_UID: Final = (0x0008, 0x0018)
_UIDS: Final = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID})

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


class Surveyor(Walker[Verdict]):
    """Walks over an encoded data set while it arrives: `feed` any number of times, then `finish`.

    Parameters
    ----------
    explicit : bool
        Whether the negotiated transfer syntax has explicit VRs. Where the
        first element plainly says otherwise the walk follows it: such an
        instance is kept and the worker says what is wrong with it.

    References
    ----------
    DICOM PS3.5 7.1 (elements), 7.5 (nesting), A.4 (encapsulated pixel data).
    """

    __slots__ = ("_walk",)

    def __init__(self, *, explicit: bool) -> None:
        self._walk = _Walk(explicit=explicit)
        super().__init__(self._walk.steps())

    @property
    def sop_class_uid(self) -> str | None:
        """(0008,0016) of the top level, once it has arrived."""
        return self._walk.uids.get(_SOP_CLASS_UID)

    @property
    def sop_instance_uid(self) -> str | None:
        """(0008,0018) of the top level, once it has arrived."""
        return self._walk.uids.get(_SOP_INSTANCE_UID)

    @property
    def failed(self) -> bool:
        """Whether nothing that may still arrive can make it a data set."""
        return self._found is Verdict.UNPARSABLE

    def finish(self) -> Survey:
        """Say what was found, now that all has arrived."""
        if self._found is None:
            self._found = Verdict.SOUND if self._may_end() and not self._walk.inside else Verdict.TRUNCATED
        return Survey(self._found, self.sop_class_uid, self.sop_instance_uid)


def _looks_explicit(header: bytes, *, otherwise: bool) -> bool:
    vr = header[4:6]
    if vr.isalpha() and vr.isupper():
        # read as an implicit length this would be above 16 kB, in group 0008
        return True
    # an implicit length below 64 kB: its upper half is zero where an explicit VR's length would stand
    return otherwise and header[6:8] != b"\0\0"


class _Walk:
    """Where the walk stands; only things of undefined length are entered, all others are stepped over."""

    def __init__(self, *, explicit: bool) -> None:
        self.uids: dict[tuple[int, int], str] = {}
        self._stack: list[tuple[_Within, bool]] = []
        self._explicit = explicit

    @property
    def inside(self) -> bool:
        """Whether something of undefined length is still open."""
        return bool(self._stack)

    def steps(self) -> Generator[Want, bytes, Verdict]:
        """Ask for bytes and pass one element, item or delimiter after the other."""
        try:
            for step in range(MOST_STEPS):
                header = yield HEADER
                if step == 0:
                    self._explicit = _looks_explicit(header, otherwise=self._explicit)
                group, number = struct.unpack_from("<HH", header)
                if group == _DELIMITERS:
                    yield from self._delimiter(number, header)
                else:
                    yield from self._element(group, number, header)
        except _Stop as stop:
            return stop.verdict
        return Verdict.UNDECIDED

    def _delimiter(self, number: int, header: bytes) -> Generator[Want, bytes, None]:
        (length,) = struct.unpack_from("<L", header, 4)
        within = self._stack[-1][0] if self._stack else None
        match number:
            case 0xE000 if within is _Within.SEQUENCE and length == _UNDEFINED:
                self._enter(_Within.ITEM, explicit=self._stack[-1][1])
            case 0xE000 if within in {_Within.SEQUENCE, _Within.FRAGMENTS} and length != _UNDEFINED:
                yield Want(length, kept=False)
            case 0xE00D if within is _Within.ITEM:
                self._stack.pop()
            case 0xE0DD if within in {_Within.SEQUENCE, _Within.FRAGMENTS}:
                self._stack.pop()
            case _:
                raise _Stop(Verdict.UNPARSABLE)

    def _element(self, group: int, number: int, header: bytes) -> Generator[Want, bytes, None]:
        within, explicit = self._stack[-1] if self._stack else (None, self._explicit)
        if within in {_Within.SEQUENCE, _Within.FRAGMENTS} or (within is None and group < _FIRST_GROUP):
            raise _Stop(Verdict.UNPARSABLE)
        vr = None
        if explicit:
            vr, length = struct.unpack_from("<2sH", header, 4)
            if not (vr.isalpha() and vr.isupper()):
                raise _Stop(Verdict.UNPARSABLE)
            # PS3.5 7.1.2: all others, also ones yet to be invented, have the long form
            if vr not in SHORT_FORM:
                (length,) = struct.unpack("<L", (yield LONG_LENGTH))
        else:
            (length,) = struct.unpack_from("<L", header, 4)
        if length == _UNDEFINED:
            self._enter_undefined(vr, explicit=explicit)
        elif within is None and (group, number) in _UIDS and length <= LONGEST_UID:
            value = yield Want(length, kept=True)
            uid = value.decode("ascii", errors="replace").rstrip("\0 ")
            # PS3.5 7.1: an element occurs once; readers differ in which of two they believe
            if self.uids.setdefault((group, number), uid) != uid:
                raise _Stop(Verdict.UNPARSABLE)
        else:
            yield Want(length, kept=False)

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
