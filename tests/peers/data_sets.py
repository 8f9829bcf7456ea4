"""Encoded data sets written by hand, so that a test says every byte it sends."""

from __future__ import annotations

import itertools
import struct

CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
UNDEFINED = 0xFFFFFFFF
LONG_FORM = {"OB", "OW", "SQ", "UN", "UT"}

_serial = itertools.count(1)


def new_uid() -> str:
    """A SOP Instance UID that no other call of this test run returns."""
    return f"1.2.826.0.1.3680043.8.498.{next(_serial)}"


def element(tag: int, vr: str, value: bytes, *, explicit: bool = True, length: int | None = None) -> bytes:
    """One element; `length` lies about the value's."""
    group, number = divmod(tag, 0x10000)
    value += (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) % 2)
    length = len(value) if length is None else length
    if not explicit:
        return struct.pack("<HHL", group, number, length) + value
    if vr in LONG_FORM:
        return struct.pack("<HH2sHL", group, number, vr.encode(), 0, length) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), length) + value


def item(content: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def data_set(
    instance: str | None = None,
    sop_class: str | None = CR_STORAGE,
    *,
    explicit: bool = True,
    pixels: int = 256,
    extra: bytes = b"",
    pixel_data: bytes | None = None,
) -> bytes:
    """A data set of a few elements that any parser reads; None leaves a UID out."""
    parts = [element(0x00080005, "CS", b"ISO_IR 100", explicit=explicit)]
    if sop_class is not None:
        parts.append(element(0x00080016, "UI", sop_class.encode(), explicit=explicit))
    if instance is not None:
        parts.append(element(0x00080018, "UI", instance.encode(), explicit=explicit))
    parts += [
        element(0x00080060, "CS", b"CR", explicit=explicit),
        element(0x00100010, "PN", b"Canary^Patient", explicit=explicit),
        extra,
        pixel_data or element(0x7FE00010, "OW", bytes(range(256)) * (pixels // 256), explicit=explicit),
    ]
    return b"".join(parts)


def encoded_for(syntax: str, instance: str) -> bytes:
    """A data set as the transfer syntax wants it, with a code stream that is none: the listener decodes nothing."""
    if syntax in {EXPLICIT, IMPLICIT}:
        return data_set(instance, explicit=syntax == EXPLICIT)
    stream = f"no code stream of {syntax}".encode()
    fragments = item(b"") + item(stream + bytes(len(stream) % 2)) + item(bytes(range(256))) + SEQUENCE_END
    return data_set(instance, pixel_data=element(0x7FE00010, "OB", fragments, length=UNDEFINED))
