"""Streams of every make: those that hold a smaller image give it where it lies, the others give nothing."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid

from core.errors import RejectedInput
from imaging.decode.jpeg_2000 import decode_jpeg_2000
from imaging.decode.jpeg_2000_reduced import reduced_jpeg_2000
from imaging.decode.module import PixelModule
from imaging.phantom.encode import encode
from imaging.sampling import Sampling


def module(shape: tuple[int, int], bits: int = 12, *, signed: bool = False) -> PixelModule:
    return PixelModule(*shape, 8 if bits <= 8 else 16, bits, bits - 1, signed=signed, monochrome1=False)


def slope(rows: int, columns: int, bits: int = 12) -> NDArray[np.uint16]:
    """Grows by one with each column and row, so that a value tells where it lies."""
    row, column = np.mgrid[:rows, :columns]
    return ((row + column) % (1 << bits)).astype(np.uint16)


def by_pillow(picture: NDArray[np.unsignedinteger], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG2000", no_jp2=True, irreversible=False, **options)
    return stream.getvalue()


def test_samples_lie_on_every_fourth_pixel_from_the_first() -> None:
    picture = slope(1000, 2601)
    found = list(reduced_jpeg_2000(encode(picture, 12, uid.JPEG2000Lossless), module(picture.shape)))
    # 2601 pixels: two levels leave 651, which Pillow alone would have rounded to 650 and called broken
    assert [sampling for _, sampling in found] == [Sampling(4, 0.5), Sampling(2, 0.5)]
    for stored, sampling in found:
        step = sampling.step
        assert stored.shape == (-(-1000 // step), -(-2601 // step))
        inner = (slice(4, -4), slice(4, -4))
        difference = stored.astype(int)[inner] - picture[::step, ::step].astype(int)[inner]
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_depth_keeps_its_scale(bits: int) -> None:
    picture = np.full((64, 1300), (1 << bits) - 3, np.uint16)
    picture[:, :700] = 1
    ((stored, _),) = reduced_jpeg_2000(encode(picture, bits, uid.JPEG2000Lossless), module(picture.shape, bits))
    assert stored.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert (stored[:, :340] == 1).all()
    assert (stored[:, 360:] == (1 << bits) - 3).all()


def test_negative_values_stay_negative() -> None:
    picture = np.where(np.arange(1400) < 700, -1500, 900).astype(np.int16) * np.ones((64, 1), np.int16)
    code = imagecodecs.jpeg2k_encode(picture, level=0, codecformat="j2k", reversible=True)
    # the encoder declares 16 bits; Bits Stored must say so too
    ((stored, _),) = reduced_jpeg_2000(code, module(picture.shape, 16, signed=True))
    assert stored.dtype == np.int16
    assert (stored[:, :340] == -1500).all()
    assert (stored[:, 360:] == 900).all()


@pytest.mark.parametrize("side", [256, 333, 1024])
def test_tiles_are_put_together(side: int) -> None:
    # of 8 bits: Pillow's encoder puts 16-bit tiles in the wrong place
    picture = (slope(900, 1500) // 10).astype(np.uint8)
    code = by_pillow(picture, tile_size=(side, side))
    np.testing.assert_array_equal(decode_jpeg_2000(code, module(picture.shape, 8)), picture)
    ((stored, sampling),) = reduced_jpeg_2000(code, module(picture.shape, 8))
    assert sampling == Sampling(2, 0.5)
    assert np.abs(stored.astype(int) - picture[::2, ::2].astype(int)).max() <= 2


def test_a_missing_tile_is_no_grey_tile() -> None:
    picture = slope(900, 1500)
    code = by_pillow(picture, tile_size=(512, 512))
    start = code.rindex(b"\xff\x90")
    (length,) = struct.unpack_from(">L", code, start + 6)
    with pytest.raises(RejectedInput, match="lacks 1 of its tiles"):
        list(reduced_jpeg_2000(code[:start] + code[start + length :], module(picture.shape, 16)))


def test_a_stream_without_levels_gives_nothing_and_is_decoded_in_full() -> None:
    picture = slope(64, 1500)
    code = by_pillow(picture, num_resolutions=1)
    assert list(reduced_jpeg_2000(code, module(picture.shape, 16))) == []
    np.testing.assert_array_equal(decode_jpeg_2000(code, module(picture.shape, 16)), picture)


def test_a_stream_with_one_level_gives_that() -> None:
    picture = slope(64, 3000)
    found = list(reduced_jpeg_2000(by_pillow(picture, num_resolutions=2), module(picture.shape, 16)))
    assert [sampling.step for _, sampling in found] == [2]


def test_an_image_off_the_grid_gives_nothing() -> None:
    picture = slope(64, 1500)
    code = by_pillow(picture, offset=(3, 5), tile_offset=(0, 0), tile_size=(2000, 200))
    assert list(reduced_jpeg_2000(code, module(picture.shape, 16))) == []


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (639, 1279), (1279, 3)])
def test_small_images_are_left_whole(shape: tuple[int, int]) -> None:
    code = encode(slope(*shape), 12, uid.JPEG2000Lossless)
    assert list(reduced_jpeg_2000(code, module(shape))) == []


def test_a_header_that_disagrees_on_sign_or_depth_gives_nothing() -> None:
    picture = slope(64, 1500)
    code = encode(picture, 12, uid.JPEG2000Lossless)
    assert list(reduced_jpeg_2000(code, module(picture.shape, 12, signed=True))) == []
    assert list(reduced_jpeg_2000(code, module(picture.shape, 10))) == []
