from __future__ import annotations

import struct
import time

import pytest
from pydicom import uid

from core.errors import RejectedInput
from core.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, SUPPORTED_TRANSFER_SYNTAXES
from imaging.reasons import Rejection
from imaging.skeleton import walk
from tests.factories.dicom_objects import part10, phantom


def explicit(group: int, number: int, vr: bytes, value: bytes, declared: int | None = None) -> bytes:
    length = len(value) if declared is None else declared
    head = struct.pack("<HH", group, number) + vr
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return head + b"\0\0" + struct.pack("<L", length) + value
    return head + struct.pack("<H", length) + value


def implicit(group: int, number: int, value: bytes, declared: int | None = None) -> bytes:
    return struct.pack("<HHL", group, number, len(value) if declared is None else declared) + value


def file(*elements: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    name = syntax.encode()
    meta = explicit(0x0002, 0x0010, b"UI", name + b"\0" * (len(name) % 2))
    return bytes(128) + b"DICM" + meta + b"".join(elements)


MODALITY = explicit(0x0008, 0x0060, b"CS", b"DX")
UNDEFINED = 0xFFFFFFFF
ITEM = implicit(0xFFFE, 0xE000, b"", UNDEFINED)
ITEM_END = implicit(0xFFFE, 0xE00D, b"")
SEQUENCE_END = implicit(0xFFFE, 0xE0DD, b"")


def reason(content: bytes) -> Rejection:
    with pytest.raises(RejectedInput) as caught:
        walk(content)
    return Rejection(caught.value.reason)


@pytest.mark.parametrize("syntax", SUPPORTED_TRANSFER_SYNTAXES)
def test_a_sound_file_is_walked_to_its_pixel_data(syntax: str) -> None:
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    dataset = phantom(syntax=uid.UID(syntax), bits_stored=bits)
    content = part10(dataset)
    skeleton = walk(content)
    assert skeleton.transfer_syntax_uid == syntax
    assert skeleton.pixels is not None
    # group and element of pixel data, little endian
    assert content[skeleton.header_end : skeleton.header_end + 4] == b"\xe0\x7f\x10\x00"
    found = b"".join(content[start : start + length] for start, length in skeleton.pixels.fragments)
    assert found in dataset.PixelData


def test_empty_and_foreign_files_are_told_apart() -> None:
    assert reason(b"") is Rejection.EMPTY
    assert reason(b"GIF89a" + bytes(500)) is Rejection.NOT_DICOM
    assert reason(bytes(128) + b"DIC") is Rejection.NOT_DICOM
    assert reason(file()) is Rejection.EMPTY


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.102", "1.2.3", "x" * 300]
)
def test_other_transfer_syntaxes_are_refused_before_anything_is_inflated(syntax: str) -> None:
    assert reason(file(MODALITY, syntax=syntax)) is Rejection.TRANSFER_SYNTAX


def test_missing_meta_information_is_no_transfer_syntax() -> None:
    assert reason(bytes(128) + b"DICM" + MODALITY) is Rejection.TRANSFER_SYNTAX


@pytest.mark.parametrize("vr", [b"OV", b"SV", b"UV"])
def test_meta_information_of_64_bit_values_is_stepped_over(vr: bytes) -> None:
    private = struct.pack("<HH2sHL", 0x0002, 0x0102, vr, 0, 8) + bytes(8)
    assert walk(file(MODALITY).replace(MODALITY, private + MODALITY)).pixels is None


@pytest.mark.parametrize(
    ("element", "why"),
    [
        (explicit(0x0002, 0x0102, b"OB", b"ab", 99), Rejection.TRUNCATED),
        (explicit(0x0002, 0x0102, b"OB", b"")[:9], Rejection.TRUNCATED),
        (explicit(0x0002, 0x0102, b"OB", b"", 0xFFFFFFFF), Rejection.BAD_HEADER),
        (implicit(0x0002, 0x0102, b"abcdefgh"), Rejection.BAD_HEADER),
        (explicit(0x0002, 0x0100, b"UI", b"") * (1 << 14), Rejection.BAD_HEADER),
    ],
    ids=["value cut", "header cut", "undefined length", "implicit", "without end"],
)
def test_meta_information_that_makes_no_sense_is_refused(element: bytes, why: Rejection) -> None:
    assert reason(file(element)) is why


def test_a_name_longer_than_the_file_is_truncation() -> None:
    assert reason(file(MODALITY, explicit(0x0010, 0x0010, b"PN", b"A^B^C", 64))) is Rejection.TRUNCATED


def test_pixel_data_of_four_gigabytes_with_three_present_are_truncation() -> None:
    assert reason(file(MODALITY, explicit(0x7FE0, 0x0010, b"OW", b"abc", 0xFFFFFFFE))) is Rejection.TRUNCATED


@pytest.mark.parametrize("kept", [140, 200, 400, 900, 2000])
def test_a_file_cut_anywhere_is_truncation(kept: int) -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.JPEG2000Lossless):
        content = part10(phantom(syntax=syntax))
        assert reason(content[:-kept]) is Rejection.TRUNCATED


def test_bytes_of_the_other_kind_of_vr_are_refused() -> None:
    assert reason(file(implicit(0x0008, 0x0060, b"DX"))) is Rejection.BAD_HEADER
    assert reason(file(MODALITY, syntax=IMPLICIT_VR_LITTLE_ENDIAN)) is Rejection.BAD_HEADER


@pytest.mark.parametrize("levels", [17, 200, 50_000])
@pytest.mark.parametrize("length", ["undefined", "defined"])
def test_row_17_deep_nesting_ends_at_once(levels: int, length: str) -> None:
    if length == "undefined":
        opened = (explicit(0x0008, 0x1140, b"SQ", b"", UNDEFINED) + ITEM) * levels
        content = file(MODALITY, opened, (ITEM_END + SEQUENCE_END) * levels)
    else:
        inner = b""
        for _ in range(min(levels, 2000)):
            inner = explicit(0x0008, 0x1140, b"SQ", implicit(0xFFFE, 0xE000, inner))
        content = file(MODALITY, inner)
    start = time.process_time()
    assert reason(content) is Rejection.BAD_HEADER
    assert time.process_time() - start < 1


def test_sixteen_levels_are_read() -> None:
    opened = (explicit(0x0008, 0x1140, b"SQ", b"", UNDEFINED) + ITEM) * 15
    assert walk(file(MODALITY, opened, (ITEM_END + SEQUENCE_END) * 15)).pixels is None


def test_unknown_vr_of_undefined_length_is_an_implicit_sequence() -> None:
    content = explicit(0x0009, 0x1001, b"UN", b"", UNDEFINED) + ITEM + implicit(0x0008, 0x0060, b"DX")
    assert walk(file(MODALITY, content, ITEM_END, SEQUENCE_END)).pixels is None


@pytest.mark.parametrize(
    "elements",
    [
        ITEM_END,
        SEQUENCE_END,
        ITEM,
        explicit(0x0008, 0x1140, b"SQ", b"", UNDEFINED) + MODALITY,
        explicit(0x0008, 0x1140, b"SQ", b"", UNDEFINED) + ITEM_END,
        explicit(0x0008, 0x0061, b"ZZ", b"DX"),
        explicit(0x0009, 0x1001, b"OB", b"", UNDEFINED) + ITEM,
        explicit(0x7FE0, 0x0010, b"OW", b"ab") * 2,
        explicit(0x7FE0, 0x0010, b"OB", b"", UNDEFINED) + SEQUENCE_END,
    ],
)
def test_structure_that_makes_no_sense_is_refused(elements: bytes) -> None:
    assert reason(file(MODALITY, elements)) is Rejection.BAD_HEADER


def test_fragments_without_an_end_are_truncation() -> None:
    opened = explicit(0x7FE0, 0x0010, b"OB", b"", UNDEFINED)
    table = implicit(0xFFFE, 0xE000, b"")
    syntax = uid.JPEGLosslessSV1
    assert reason(file(MODALITY, opened, table, syntax=syntax)) is Rejection.TRUNCATED
    assert reason(file(MODALITY, opened, table, implicit(0xFFFE, 0xE000, b"ab", 99), syntax=syntax)) is (
        Rejection.TRUNCATED
    )


def test_native_pixel_data_in_a_compressed_syntax_are_refused() -> None:
    content = file(MODALITY, explicit(0x7FE0, 0x0010, b"OW", b"abcd"), syntax=uid.JPEGLosslessSV1)
    assert reason(content) is Rejection.BAD_HEADER


def test_an_icon_may_be_compressed_too() -> None:
    icon = explicit(0x7FE0, 0x0010, b"OB", b"", UNDEFINED) + implicit(0xFFFE, 0xE000, b"") + SEQUENCE_END
    sequence = explicit(0x0088, 0x0200, b"SQ", b"", UNDEFINED) + ITEM + icon + ITEM_END + SEQUENCE_END
    assert walk(file(MODALITY, sequence, syntax=uid.JPEGLosslessSV1)).pixels is None


def test_many_elements_end_at_the_limit() -> None:
    assert reason(file(MODALITY * 200_001)) is Rejection.BAD_HEADER
