from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from core.errors import RejectedInput
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from imaging.decode.dispatch import decode
from imaging.decode.jpeg_2000 import decode_htj2k
from imaging.decode.module import read_pixel_module
from imaging.header import read_header
from imaging.phantom.encode import encode
from imaging.reasons import Rejection
from tests.factories.dicom_objects import gradient, part10, phantom
from tests.pixels_reference import REFERENCES, PixelReference

BUDGET = 64 << 20
LOSSLESS = [
    reference.transfer_syntax for reference in REFERENCES if reference.file is None and reference.tolerance == 0
]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.name)
def test_stored_values_are_those_another_decoder_gives(reference: PixelReference) -> None:
    content = reference.content()
    header = read_header(content)
    _, stored = decode(header, content, BUDGET)
    assert header.transfer_syntax_uid == reference.transfer_syntax
    assert stored.dtype == reference.dtype
    assert stored.shape == reference.shape
    for place, expected in reference.samples.items():
        assert abs(int(stored[place]) - expected) <= reference.tolerance, place


def test_every_syntax_we_accept_has_a_reference() -> None:
    assert {reference.transfer_syntax for reference in REFERENCES} == set(SUPPORTED_TRANSFER_SYNTAXES)


@pytest.mark.parametrize("syntax", sorted(set(LOSSLESS)))
def test_lossless_syntaxes_give_back_every_pixel(syntax: str) -> None:
    picture = gradient()
    content = part10(phantom(picture=picture, syntax=uid.UID(syntax)))
    _, stored = decode(read_header(content), content, BUDGET)
    np.testing.assert_array_equal(stored, picture)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_openjph_and_openjpeg_agree_on_high_throughput_streams(bits: int) -> None:
    picture = gradient(bits=bits)
    code = encode(picture, bits, uid.HTJ2KLossless)
    module = read_pixel_module(phantom(picture=picture, bits_stored=bits))
    np.testing.assert_array_equal(decode_htj2k(code, module), imagecodecs.jpeg2k_decode(code))


def test_a_frame_in_several_fragments_is_put_together() -> None:
    picture = gradient()
    dataset = phantom(picture=picture, syntax=uid.JPEGLosslessSV1)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame], fragments_per_frame=5)
    content = part10(dataset)
    header = read_header(content)
    assert header.pixels is not None
    assert len(header.pixels.fragments) == 5
    np.testing.assert_array_equal(decode(header, content, BUDGET)[1], picture)


def test_missing_pixel_data_are_named() -> None:
    dataset = phantom()
    del dataset.PixelData
    content = part10(dataset)
    with pytest.raises(RejectedInput) as caught:
        decode(read_header(content), content, BUDGET)
    assert caught.value.reason == Rejection.NO_PIXEL_DATA


def test_empty_pixel_data_are_missing_ones() -> None:
    dataset = phantom()
    dataset.PixelData = b""
    content = part10(dataset)
    with pytest.raises(RejectedInput) as caught:
        decode(read_header(content), content, BUDGET)
    assert caught.value.reason == Rejection.NO_PIXEL_DATA


def test_the_budget_is_held_before_decoding() -> None:
    content = part10(phantom())
    header = read_header(content)
    size = header.dataset.Rows * header.dataset.Columns * 2
    decode(header, content, size)
    with pytest.raises(RejectedInput) as caught:
        decode(header, content, size - 1)
    assert caught.value.reason == Rejection.OVER_BUDGET


def test_an_error_half_way_down_a_high_throughput_stream_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # imagecodecs cannot raise it and returns the array all the same, its rest whatever lay in memory
    escaped: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", escaped.append)
    picture = gradient(40, 32)
    code = encode(picture, 12, uid.HTJ2KLossless)
    module = read_pixel_module(phantom(picture=picture))
    random = np.random.default_rng(0)
    swallowed = 0
    for _ in range(100):
        damaged = bytearray(code)
        damaged[int(random.integers(100, len(code)))] ^= int(random.integers(1, 256))
        try:
            imagecodecs.htj2k_decode(bytes(damaged))
        except RuntimeError:
            continue
        if escaped:
            swallowed += 1
            escaped.clear()
            with pytest.raises(RejectedInput, match="DECODE_FAILED"):
                decode_htj2k(bytes(damaged), module)
            assert not escaped
    assert swallowed > 0
