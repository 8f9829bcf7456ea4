from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from core.part10 import LONG_FORM, LONGEST_META, PREAMBLE, SHORT_FORM, meta_elements

UNDEFINED = 0xFFFFFFFF


def element(number: int, vr: bytes, value: bytes, *, group: int = 2, length: int | None = None) -> bytes:
    declared = len(value) if length is None else length
    if vr.decode() in EXPLICIT_VR_LENGTH_32:
        return struct.pack("<HH2sHL", group, number, vr, 0, declared) + value
    return struct.pack("<HH2sH", group, number, vr, declared) + value


def found(head: bytes | memoryview) -> list[tuple[int, bytes]]:
    return [(one.number, one.value(head)) for one in meta_elements(head)]


def test_the_tables_are_those_of_the_standard() -> None:
    assert {vr.decode() for vr in LONG_FORM} == set(EXPLICIT_VR_LENGTH_32)
    assert {vr.decode() for vr in SHORT_FORM} == set(EXPLICIT_VR_LENGTH_16)


@pytest.mark.parametrize("vr", sorted(LONG_FORM | SHORT_FORM))
def test_an_element_of_any_vr_is_stepped_over(vr: bytes) -> None:
    head = PREAMBLE + element(1, vr, b"abcd") + element(0x10, b"UI", b"1.2\0") + element(5, b"CS", b"DX", group=8)
    assert found(head) == [(1, b"abcd"), (0x10, b"1.2\0")]
    assert found(memoryview(head)) == found(head)


def test_a_vr_of_the_future_has_the_long_form() -> None:
    future = struct.pack("<HH2sHL", 2, 1, b"XX", 0, 4) + b"abcd"
    assert found(PREAMBLE + future + element(0x10, b"UI", b"1.2\0")) == [(1, b"abcd"), (0x10, b"1.2\0")]


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_an_element_header_cut_short_ends_it(cut: int) -> None:
    whole = PREAMBLE + element(0x10, b"UI", b"1.2\0")
    assert found(whole + element(0x102, b"OB", b"")[:cut]) == [(0x10, b"1.2\0")]


@pytest.mark.parametrize("length", [5, UNDEFINED])
def test_a_value_cut_short_says_what_was_declared(length: int) -> None:
    (one,) = meta_elements(PREAMBLE + element(1, b"OB", b"abcd", length=length))
    assert (one.length, one.end) == (length, 132 + 12 + length)


def test_meta_information_without_end_is_followed_no_further_than_its_limit() -> None:
    head = PREAMBLE + element(1, b"CS", b"") * (8 << 20)
    began = time.process_time()
    assert len(found(head)) == -(-(LONGEST_META - len(PREAMBLE)) // 8)
    assert time.process_time() - began < 5


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_walked(noise: bytes, begins_well: bool) -> None:
    head = (PREAMBLE if begins_well else b"") + noise
    assert all(one.start <= len(head) for one in meta_elements(head))
