from __future__ import annotations

import struct

import pytest
from pydicom import uid

from core.errors import RejectedInput
from imaging.decode.codestream import Declared, check, read_jpeg, read_jpeg_2000
from imaging.decode.module import read_pixel_module
from imaging.phantom.encode import encode
from imaging.reasons import Rejection
from tests.factories.dicom_objects import gradient, phantom

JPEG_FAMILY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless)
JPEG_2000_FAMILY = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


def code_stream(syntax: uid.UID) -> bytes:
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    return encode(gradient(60, 80, bits), bits, syntax)


@pytest.mark.parametrize("syntax", JPEG_FAMILY, ids=lambda syntax: syntax.keyword)
def test_jpeg_frame_headers_are_read(syntax: uid.UID) -> None:
    declared = read_jpeg(code_stream(syntax))
    assert (declared.rows, declared.columns, declared.components) == (60, 80, 1)
    # this JPEG-LS coder declares the depth of its container
    assert declared.precision == {uid.JPEGBaseline8Bit: 8, uid.JPEGLSLossless: 16}.get(syntax, 12)


@pytest.mark.parametrize("syntax", JPEG_2000_FAMILY, ids=lambda syntax: syntax.keyword)
def test_jpeg_2000_sizes_are_read(syntax: uid.UID) -> None:
    assert read_jpeg_2000(code_stream(syntax)) == Declared(60, 80, 1, 12)


@pytest.mark.parametrize("syntax", [*JPEG_FAMILY, *JPEG_2000_FAMILY], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_streams_cut_short_are_refused(syntax: uid.UID, share: float) -> None:
    code = code_stream(syntax)
    read = read_jpeg if syntax in JPEG_FAMILY else read_jpeg_2000
    with pytest.raises(RejectedInput) as caught:
        read(code[: int(len(code) * share)])
    assert caught.value.reason == Rejection.DECODE_FAILED


@pytest.mark.parametrize("padding", [b"\0", b"\xff", b"\0\0\0"])
def test_padding_after_the_end_is_allowed(padding: bytes) -> None:
    read_jpeg(code_stream(uid.JPEGLosslessSV1) + padding)


def test_a_stream_that_declares_more_than_the_header_is_refused() -> None:
    module = read_pixel_module(phantom(picture=gradient(60, 80)))
    check(Declared(60, 80, 1, 12), module)
    for wrong in (Declared(65535, 65535, 1, 12), Declared(60, 80, 3, 8), Declared(60, 80, 1, 17)):
        with pytest.raises(RejectedInput) as caught:
            check(wrong, module)
        assert caught.value.reason == Rejection.BAD_PIXEL_MODULE


def test_an_empty_jpeg_2000_image_is_refused() -> None:
    code = bytearray(code_stream(uid.JPEG2000Lossless))
    struct.pack_into(">4L", code, 8, 5, 5, 5, 5)
    with pytest.raises(RejectedInput):
        read_jpeg_2000(bytes(code))


def test_fill_bytes_before_a_marker_are_skipped() -> None:
    code = code_stream(uid.JPEGLosslessSV1)
    assert read_jpeg(code[:2] + b"\xff\xff" + code[2:]) == read_jpeg(code)
