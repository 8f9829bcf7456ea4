from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from core.commitment_request import MOST_REFERENCES, Flaw, Reference, RequestReader
from tests.factories.commitment import CR, DX, TRANSACTION, action_information, encode

ITEM = b"\xfe\xff\x00\xe0"
NESTED = 100

uids = st.lists(st.integers(1, 99_999_999), min_size=2, max_size=7).map(lambda parts: ".".join(map(str, parts)))
references = st.lists(st.tuples(uids, uids), min_size=1, max_size=20)


def read(content: bytes, *, explicit: bool = True, piece: int = 1 << 20) -> tuple[Flaw | None, RequestReader]:
    reader = RequestReader(explicit=explicit, keep=True)
    for start in range(0, len(content), piece):
        reader.feed(memoryview(content)[start : start + piece])
    return reader.finish(), reader


def flaw(content: bytes, *, explicit: bool = True) -> Flaw | None:
    return read(content, explicit=explicit)[0]


@given(asked=references, explicit=st.booleans(), undefined=st.booleans(), piece=st.integers(1, 300))
def test_it_reads_what_pydicom_writes(
    asked: list[tuple[str, str]], *, explicit: bool, undefined: bool, piece: int
) -> None:
    content = encode(action_information(asked), explicit=explicit, undefined=undefined)
    found, reader = read(content, explicit=explicit, piece=piece)
    assert found is None
    assert reader.transaction_uid == TRANSACTION
    assert reader.references == [Reference(*pair) for pair in asked]
    assert reader.count == len(asked)


@given(content=st.binary(max_size=300), explicit=st.booleans(), keep=st.booleans())
def test_anything_is_read_or_refused(content: bytes, *, explicit: bool, keep: bool) -> None:
    reader = RequestReader(explicit=explicit, keep=keep)
    reader.feed(content)
    reader.finish()


@given(cut=st.integers(0, 200), explicit=st.booleans(), undefined=st.booleans())
def test_what_is_cut_short_is_never_taken_for_whole(cut: int, *, explicit: bool, undefined: bool) -> None:
    content = encode(action_information([(DX, "1.2.3"), (CR, "1.2.4")]), explicit=explicit, undefined=undefined)
    assert flaw(content[: min(cut, len(content) - 1)], explicit=explicit) is not None


def test_a_reader_that_does_not_keep_still_counts() -> None:
    reader = RequestReader(explicit=True, keep=False)
    reader.feed(encode(action_information([(DX, "1.2.3")])))
    assert (reader.finish(), reader.count, reader.references) == (None, 1, [])


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
def test_what_else_stands_there_is_stepped_over(*, explicit: bool, undefined: bool) -> None:
    dataset = action_information([(DX, "1.2.3")])
    dataset.StorageMediaFileSetID = "TAPE"
    (item,) = dataset.ReferencedSOPSequence
    item.StorageMediaFileSetUID = "1.2.9"
    # a sequence of references inside a reference is none of ours
    inner = action_information([(CR, "1.2.8")])
    item.ReferencedSOPSequence = inner.ReferencedSOPSequence
    dataset.ReferencedPerformedProcedureStepSequence = action_information([(CR, "1.2.7")]).ReferencedSOPSequence
    for sequence in (item, dataset):
        for element in sequence:
            if element.VR == "SQ":
                element.is_undefined_length = undefined
    found, reader = read(encode(dataset, explicit=explicit, undefined=undefined), explicit=explicit)
    assert found is None
    assert reader.references == [Reference(DX, "1.2.3")]


def without(keyword: str) -> Dataset:
    dataset = action_information([(DX, "1.2.3")])
    delattr(dataset, keyword)
    return dataset


def half_a_reference(keyword: str) -> Dataset:
    dataset = action_information([(DX, "1.2.3")])
    delattr(dataset.ReferencedSOPSequence[0], keyword)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (without("TransactionUID"), Flaw.BAD_TRANSACTION_UID),
        (without("ReferencedSOPSequence"), Flaw.NO_REFERENCES),
        (action_information([]), Flaw.NO_REFERENCES),
        (half_a_reference("ReferencedSOPClassUID"), Flaw.BAD_REFERENCE),
        (half_a_reference("ReferencedSOPInstanceUID"), Flaw.BAD_REFERENCE),
    ],
)
def test_what_a_request_needs(dataset: Dataset, expected: Flaw) -> None:
    assert flaw(encode(dataset)) is expected
    assert flaw(encode(dataset, undefined=True)) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"1.2.826.0", b"1.2/826.0", Flaw.BAD_TRANSACTION_UID),
        (b"1.2.3", b"1..23", Flaw.BAD_REFERENCE),
        (b"1.2.3", b"\0\0\0\0\0", Flaw.BAD_REFERENCE),
        (b"\x99\x11SQ", b"\x99\x11UI", Flaw.MISTYPED),
        (b"\x95\x11UI", b"\x95\x11LO", Flaw.MISTYPED),
        (b"\x55\x11UI", b"\x55\x11LO", Flaw.MISTYPED),
        (b"\x55\x11UI", b"\x55\x11??", Flaw.UNPARSABLE),
        (ITEM, b"\xfe\xff\x0d\xe0", Flaw.UNPARSABLE),
        # the same element twice
        (b"\x55\x11UI", b"\x50\x11UI", Flaw.BAD_REFERENCE),
    ],
)
def test_what_is_wrong_is_named(old: bytes, new: bytes, expected: Flaw) -> None:
    content = encode(action_information([(DX, "1.2.3")]))
    assert old in content
    assert flaw(content.replace(old, new)) is expected


def test_a_second_transaction_uid_is_refused() -> None:
    content = encode(action_information([(DX, "1.2.3")]))
    assert flaw(content + content) is Flaw.BAD_TRANSACTION_UID


def test_the_other_kind_of_vr_is_refused() -> None:
    content = encode(action_information([(DX, "1.2.3")]))
    assert flaw(content, explicit=False) is not None


def test_too_many_references_are_refused() -> None:
    one = encode(action_information([(DX, "1.2.3")]))
    at = one.index(ITEM)

    def many(count: int) -> bytes:
        # pydicom takes seconds for so many
        return one[: at - 4] + struct.pack("<L", len(one[at:]) * count) + one[at:] * count

    assert many(2) == encode(action_information([(DX, "1.2.3")] * 2))
    assert flaw(many(MOST_REFERENCES)) is None
    assert flaw(many(MOST_REFERENCES + 1)) is Flaw.TOO_LARGE


def test_nesting_has_an_end() -> None:
    opened = struct.pack("<HHLHHL", 0x0008, 0x1115, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    assert flaw(opened * NESTED + closed * NESTED, explicit=False) is Flaw.UNPARSABLE


@pytest.mark.parametrize("length", [0, 7, 0x7FFFFFFF])
def test_a_length_beyond_its_container_is_refused(length: int) -> None:
    content = encode(action_information([(DX, "1.2.3")]), explicit=False)
    at = content.index(ITEM)
    assert flaw(content[: at + 4] + struct.pack("<L", length) + content[at + 8 :], explicit=False) is not None
