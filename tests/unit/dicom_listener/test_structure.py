from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN, SUPPORTED_TRANSFER_SYNTAXES
from dicom_listener.structure import DEEPEST, MOST_STEPS, Survey, Verdict, survey
from tests.factories.dicom_objects import part10, phantom
from tests.peers.data_sets import (
    CR_STORAGE,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    data_set,
    element,
    encoded_for,
    item,
)

INSTANCE = "1.2.3.4"
SOUND = Survey(Verdict.SOUND, CR_STORAGE, INSTANCE)


def strip_meta(content: bytes) -> bytes:
    return content[144 + int.from_bytes(content[140:144], "little") :]


@pytest.mark.parametrize("explicit", [True, False])
def test_a_sound_data_set_gives_its_uids(explicit: bool) -> None:
    assert survey(data_set(INSTANCE, explicit=explicit), explicit=explicit) == SOUND


@pytest.mark.parametrize("syntax", SUPPORTED_TRANSFER_SYNTAXES)
def test_every_syntax_is_sound_and_no_tail_may_be_missing(syntax: str) -> None:
    content = encoded_for(syntax, INSTANCE)
    explicit = syntax != IMPLICIT_VR_LITTLE_ENDIAN
    assert survey(content, explicit=explicit) == SOUND
    for missing in (1, 7, 8, 9, 100, 255):
        assert survey(content[:-missing], explicit=explicit).verdict is Verdict.TRUNCATED


def test_a_real_object_is_sound() -> None:
    dataset = phantom()
    found = survey(strip_meta(part10(dataset)), explicit=True)
    assert found == Survey(Verdict.SOUND, dataset.SOPClassUID, dataset.SOPInstanceUID)


@pytest.mark.parametrize("explicit", [True, False])
def test_the_other_vr_encoding_than_negotiated_is_followed(explicit: bool) -> None:
    assert survey(data_set(INSTANCE, explicit=explicit), explicit=not explicit) == SOUND


@pytest.mark.parametrize(
    "nested",
    [
        item(element(0x00080100, "SH", b"A")) + SEQUENCE_END,
        item(element(0x00080100, "SH", b"A") + ITEM_END, length=UNDEFINED) + SEQUENCE_END,
        SEQUENCE_END,
        item(
            element(0x00081140, "SQ", item(element(0x00080018, "UI", b"9.9")) + SEQUENCE_END, length=UNDEFINED)
            + ITEM_END,
            length=UNDEFINED,
        )
        + SEQUENCE_END,
    ],
    ids=["defined items", "undefined items", "no items", "nested"],
)
def test_sequences_of_undefined_length_are_walked(nested: bytes) -> None:
    sequence = element(0x00081115, "SQ", nested, length=UNDEFINED)
    assert survey(data_set(INSTANCE, extra=sequence), explicit=True) == SOUND


def test_unknown_of_undefined_length_is_implicit_inside() -> None:
    inside = item(element(0x00080100, "SH", b"A", explicit=False)) + SEQUENCE_END
    unknown = element(0x00091001, "UN", inside, length=UNDEFINED)
    assert survey(data_set(INSTANCE, extra=unknown), explicit=True) == SOUND


def test_a_vr_of_the_future_has_the_long_form() -> None:
    future = struct.pack("<HH2sHL", 0x0018, 0x9999, b"XX", 0, 4) + b"abcd"
    assert survey(data_set(INSTANCE, extra=future), explicit=True) == SOUND


def test_trailing_zeros_are_padding() -> None:
    assert survey(data_set(INSTANCE) + b"\0\0", explicit=True) == SOUND


def test_nested_uids_are_not_the_instances() -> None:
    sequence = element(
        0x00080006,
        "SQ",
        item(element(0x00080018, "UI", b"9.9") + ITEM_END, length=UNDEFINED) + SEQUENCE_END,
        length=UNDEFINED,
    )
    assert survey(sequence + data_set(INSTANCE), explicit=True).sop_instance_uid == INSTANCE


@pytest.mark.parametrize(
    "content",
    [
        bytes(128) + b"DICM" + data_set(INSTANCE),
        b"hello, this is no DICOM at all, however long it may be",
        b"\xff\xd8\xff\xe0" + bytes(100),
        element(0x00020010, "UI", b"1.2") + data_set(INSTANCE),
        data_set(INSTANCE) + SEQUENCE_END,
        data_set(INSTANCE, extra=struct.pack("<HH2sH", 0x0018, 0x0010, b"\x01\x02", 0)),
        data_set(INSTANCE, extra=struct.pack("<HH2sHL", 0x0018, 0x1030, b"UT", 0, UNDEFINED)),
    ],
    ids=["Part 10 file", "text", "JPEG", "file meta", "stray delimiter", "no VR", "text of undefined length"],
)
def test_what_is_no_data_set_is_not_sound(content: bytes) -> None:
    assert survey(content, explicit=True).verdict in {Verdict.UNPARSABLE, Verdict.TRUNCATED}


@pytest.mark.parametrize("length", [1_000, 0xFFFF_FFFE])
def test_a_length_beyond_the_end_is_truncation(length: int) -> None:
    content = data_set(INSTANCE) + element(0x7FE10010, "OB", b"abc", length=length)
    assert survey(content, explicit=True).verdict is Verdict.TRUNCATED


def test_a_sequence_that_never_ends_is_truncation() -> None:
    content = data_set(INSTANCE) + element(0x7FE10010, "SQ", item(b""), length=UNDEFINED)
    assert survey(content, explicit=True).verdict is Verdict.TRUNCATED


def test_deep_nesting_is_left_to_the_worker() -> None:
    opening = element(0x00081115, "SQ", b"", length=UNDEFINED) + item(b"", length=UNDEFINED)
    found = survey(data_set(INSTANCE) + opening * (DEEPEST + 1), explicit=True)
    assert found == Survey(Verdict.UNDECIDED, CR_STORAGE, INSTANCE)


def test_a_million_elements_are_left_to_the_worker() -> None:
    content = data_set(INSTANCE) + element(0x00181030, "LO", b"") * (MOST_STEPS + 1)
    assert survey(content, explicit=True).verdict is Verdict.UNDECIDED


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300), explicit=st.booleans())
def test_any_bytes_give_a_verdict(content: bytes, explicit: bool) -> None:
    assert isinstance(survey(content, explicit=explicit), Survey)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_gives_a_verdict(data: st.DataObject) -> None:
    content = bytearray(data_set(INSTANCE, extra=element(0x00081115, "SQ", item(b"") + SEQUENCE_END, length=UNDEFINED)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(survey(bytes(content), explicit=True), Survey)
