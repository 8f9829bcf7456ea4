from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN, SUPPORTED_TRANSFER_SYNTAXES
from core.uids import LONGEST_UID
from dicom_listener.storage import structure
from dicom_listener.storage.structure import DEEPEST, MOST_STEPS, Survey, Surveyor, Verdict
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


def survey(*fragments: bytes, explicit: bool) -> Survey:
    surveyor = Surveyor(explicit=explicit)
    for fragment in fragments:
        surveyor.feed(memoryview(fragment))
    return surveyor.finish()


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


NESTED = element(
    0x00081115,
    "SQ",
    item(element(0x00080018, "UI", b"9.9") + ITEM_END, length=UNDEFINED) + item(b"") + SEQUENCE_END,
    length=UNDEFINED,
)
SOUND_ONES = [
    data_set(INSTANCE, extra=NESTED),
    data_set(INSTANCE, explicit=False),
    encoded_for(SUPPORTED_TRANSFER_SYNTAXES[-1], INSTANCE),
    data_set(
        INSTANCE,
        extra=element(
            0x00091001, "UN", item(element(0x00080100, "SH", b"A", explicit=False)) + SEQUENCE_END, length=UNDEFINED
        ),
    ),
    data_set(INSTANCE, pixels=1024) + bytes(7),
    data_set("1.2." + "3" * LONGEST_UID),
]


@st.composite
def encoded(draw: st.DrawFn) -> bytes:
    """Anything between a sound data set and noise."""
    content = bytearray(draw(st.sampled_from([*SOUND_ONES, b""])))
    for _ in range(draw(st.integers(0, 3)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.sampled_from([0, 1, 8, 0xFE, 0xFF, ord("U")]))
    del content[draw(st.integers(0, len(content))) if draw(st.booleans()) else len(content) :]
    return bytes(content) + draw(st.binary(max_size=20))


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[start:end] for start, end in itertools.pairwise(edges)]


@settings(max_examples=500, deadline=None)
@given(content=encoded(), places=st.lists(st.integers(0, 2000), max_size=20), explicit=st.booleans())
def test_however_it_is_cut_the_same_is_found(content: bytes, places: list[int], explicit: bool) -> None:
    assert survey(*cut(content, places), explicit=explicit) == survey(content, explicit=explicit)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("number", range(len(SOUND_ONES)))
def test_byte_by_byte_the_same_is_found(number: int, explicit: bool) -> None:
    content = SOUND_ONES[number]
    whole = survey(content, explicit=explicit)
    assert whole.verdict is Verdict.SOUND
    assert survey(*(content[place : place + 1] for place in range(len(content))), explicit=explicit) == whole


@pytest.mark.parametrize("limit", range(1, 12))
@pytest.mark.parametrize("name", ["MOST_STEPS", "DEEPEST"])
def test_limits_are_met_at_the_same_place_however_it_is_cut(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, name, limit)
    content = data_set(INSTANCE, extra=NESTED)
    whole = survey(content, explicit=True)
    assert whole.verdict is (Verdict.UNDECIDED if limit < {"MOST_STEPS": 12, "DEEPEST": 2}[name] else Verdict.SOUND)
    assert survey(*(content[place : place + 1] for place in range(len(content))), explicit=True) == whole


def test_exactly_as_many_steps_as_are_followed_are_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, verdict in ((5, Verdict.UNDECIDED), (6, Verdict.UNDECIDED), (7, Verdict.SOUND)):
        monkeypatch.setattr(structure, "MOST_STEPS", limit)
        assert survey(data_set(INSTANCE), explicit=True).verdict is verdict


def test_what_can_be_known_early_is_known_early() -> None:
    surveyor = Surveyor(explicit=True)
    content = data_set(INSTANCE)
    end = content.index(INSTANCE.encode()) + 8
    for place in range(end):
        assert surveyor.sop_instance_uid is None
        surveyor.feed(content[place : place + 1])
    assert (surveyor.sop_class_uid, surveyor.sop_instance_uid) == (CR_STORAGE, INSTANCE)
    assert not surveyor.failed
    surveyor.feed(ITEM_END)
    assert surveyor.failed
    surveyor.feed(content)
    assert surveyor.finish() == Survey(Verdict.UNPARSABLE, CR_STORAGE, INSTANCE)


def test_a_uid_may_be_repeated() -> None:
    assert survey(data_set(INSTANCE) * 2, explicit=True) == SOUND


@pytest.mark.parametrize("second", [data_set("9.9"), data_set(INSTANCE, "8.8")], ids=["instance", "class"])
def test_two_uids_that_differ_are_no_data_set(second: bytes) -> None:
    """Else the listener would go by one of them, and whoever reads the object later by the other."""
    assert survey(data_set(INSTANCE) + second, explicit=True).verdict is Verdict.UNPARSABLE


def test_memory_stays_flat_whatever_arrives() -> None:
    hostile = [
        element(0x7FE00010, "OW", b"", length=UNDEFINED - 1),
        element(0x00080018, "UI", b"", length=0xFFFE),
        element(0x00080005, "CS", b""),
        element(0x00081115, "SQ", b"", length=UNDEFINED) + item(b"", length=UNDEFINED),
    ]
    fragment = bytes(1 << 20)
    for beginning in hostile:
        surveyor = Surveyor(explicit=True)
        tracemalloc.start()
        surveyor.feed(data_set(INSTANCE) + beginning)
        for _ in range(64):
            surveyor.feed(fragment)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300), explicit=st.booleans())
def test_any_bytes_give_a_verdict(content: bytes, explicit: bool) -> None:
    assert isinstance(survey(content, explicit=explicit), Survey)
