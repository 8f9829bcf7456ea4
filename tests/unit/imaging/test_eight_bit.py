from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import RejectedInput
from imaging.eight_bit import grey_from_picture, master_from_picture
from imaging.reasons import Rejection

GREY = np.add.outer(np.arange(100), np.arange(120)).astype(np.uint8)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **({"quality": 95} if form == "JPEG" else {}))
    return stream.getvalue()


def test_grey_comes_out_as_it_went_in(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(Image.fromarray(GREY)))
    np.testing.assert_array_equal(grey_from_picture(path), GREY)
    np.testing.assert_array_equal(master_from_picture(path), GREY.astype(np.uint16) * 257)


def test_equal_channels_are_that_channel() -> None:
    rgb = Image.fromarray(np.repeat(GREY[:, :, np.newaxis], 3, axis=2))
    np.testing.assert_array_equal(grey_from_picture(encoded(rgb)), GREY)


def test_jpeg_is_read() -> None:
    assert abs(grey_from_picture(encoded(Image.fromarray(GREY), "JPEG")).astype(int) - GREY).max() < 8


def test_large_pictures_are_shrunk() -> None:
    assert master_from_picture(encoded(Image.new("L", (1500, 1000), 7))).shape == (341, 512)


def colourful() -> Image.Image:
    rgb = np.zeros((50, 50, 3), np.uint8)
    rgb[:, :, 0] = 200
    return Image.fromarray(rgb)


def announced(mode: str, columns: int, rows: int) -> bytes:
    """A PNG whose header alone is so large: who reads on is already too late."""
    content = bytearray(encoded(Image.new(mode, (1, 1))))
    content[16:24] = struct.pack(">LL", columns, rows)
    content[29:33] = struct.pack(">L", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Rejection.EMPTY),
        (b"hello", Rejection.NOT_DICOM),
        (encoded(Image.new("L", (5, 5)), "GIF"), Rejection.NOT_DICOM),
        (encoded(Image.fromarray(GREY), "JPEG")[:800], Rejection.DECODE_FAILED),
        (encoded(Image.fromarray(GREY))[:-60], Rejection.DECODE_FAILED),
        (encoded(Image.new("I;16", (5, 5))), Rejection.BAD_PIXEL_MODULE),
        (encoded(Image.new("RGBA", (5, 5))), Rejection.BAD_PIXEL_MODULE),
        (encoded(Image.new("1", (5, 5))), Rejection.BAD_PIXEL_MODULE),
        (encoded(colourful()), Rejection.BAD_PIXEL_MODULE),
        (announced("L", 20_000, 4_000), Rejection.OVER_BUDGET),
        (announced("1", 20_000, 20_000), Rejection.OVER_BUDGET),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_grey_picture_is_refused(content: bytes, reason: Rejection) -> None:
    with pytest.raises(RejectedInput) as caught:
        grey_from_picture(content)
    assert caught.value.reason == reason
