"""What we encode, others decode: pydicom, Pillow, dcmtk, and imagecodecs where nothing else can."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread, uid
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array

from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from imaging.phantom.encode import ENCODABLE, LOSSY_METHODS, LossyQuality, encode
from tests.factories.dicom_objects import gradient, part10, phantom

LOSSLESS = [syntax for syntax in ENCODABLE if syntax not in LOSSY_METHODS]
BY_PYDICOM = {
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGBaseline8Bit,
}
BY_DCMTK = {
    uid.JPEGLossless: "dcmdjpeg",
    uid.JPEGLosslessSV1: "dcmdjpeg",
    uid.JPEGExtended12Bit: "dcmdjpeg",
    uid.JPEGBaseline8Bit: "dcmdjpeg",
    uid.JPEGLSLossless: "dcmdjpls",
    uid.JPEGLSNearLossless: "dcmdjpls",
    uid.RLELossless: "dcmdrle",
}


def depth_of(syntax: uid.UID) -> int:
    return 8 if syntax == uid.JPEGBaseline8Bit else 12


def decoded(syntax: uid.UID, code: bytes) -> NDArray[np.generic]:
    if syntax in {uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL}:
        return np.asarray(imagecodecs.htj2k_decode(code))
    if syntax in {uid.JPEGLSLossless, uid.JPEGLSNearLossless}:
        return np.asarray(imagecodecs.jpegls_decode(code))
    return np.asarray(imagecodecs.jpeg8_decode(code))


def stored(content: bytes) -> NDArray[np.generic]:
    dataset = dcmread(BytesIO(content))
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in BY_PYDICOM:
        return pixel_array(dataset)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    return decoded(syntax, frame)


def test_every_supported_syntax_can_be_written() -> None:
    assert set(ENCODABLE) == set(SUPPORTED_TRANSFER_SYNTAXES)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=str)
@pytest.mark.parametrize("shape", [(96, 128), (97, 131)])
def test_lossless_syntaxes_give_every_bit_back(syntax: uid.UID, bits: int, shape: tuple[int, int]) -> None:
    picture = gradient(*shape, bits=bits)
    content = part10(phantom("seed", picture=picture, bits_stored=bits, syntax=syntax))
    np.testing.assert_array_equal(stored(content), picture)


@pytest.mark.parametrize("syntax", list(LOSSY_METHODS), ids=str)
def test_lossy_syntaxes_stay_close_and_say_so(syntax: uid.UID) -> None:
    bits = depth_of(syntax)
    picture = gradient(bits=bits)
    dataset = phantom("seed", picture=picture, bits_stored=bits, syntax=syntax)
    error = np.abs(stored(part10(dataset)).astype(int) - picture)
    assert 0 < error.max() < 0.04 * (1 << bits)
    assert dataset.LossyImageCompression == "01"
    assert dataset.LossyImageCompressionMethod == LOSSY_METHODS[syntax]
    assert float(dataset.LossyImageCompressionRatio) > 1


@pytest.mark.requires("dcmdump")
@pytest.mark.parametrize("syntax", list(BY_DCMTK), ids=str)
def test_dcmtk_decodes_to_the_same_values(syntax: uid.UID, tmp_path: Path) -> None:
    bits = depth_of(syntax)
    picture = gradient(bits=bits)
    source, plain = tmp_path / "coded.dcm", tmp_path / "plain.dcm"
    source.write_bytes(part10(phantom("seed", picture=picture, bits_stored=bits, syntax=syntax)))
    subprocess.run([BY_DCMTK[syntax], str(source), str(plain)], check=True)
    values = pixel_array(dcmread(plain))
    if syntax in LOSSY_METHODS:
        assert np.abs(values.astype(int) - picture).max() < 0.04 * (1 << bits)
    else:
        np.testing.assert_array_equal(values, picture)


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL])
@pytest.mark.parametrize("bits", [12, 16])
def test_htj2k_declares_the_stored_depth_and_rpcl_order(syntax: uid.UID, bits: int) -> None:
    code = encode(gradient(bits=bits), bits, syntax)
    size, coding = code.index(b"\xff\x51"), code.index(b"\xff\x52")
    assert code[size + 40] == bits - 1
    assert code[coding + 5] == 2, "progression order RPCL"
    assert b"\xff\x55" in code[:400], "TLM"


def test_htj2k_is_read_by_another_decoder() -> None:
    picture = gradient(bits=16)
    with Image.open(BytesIO(encode(picture, 16, uid.HTJ2KLossless))) as opened:
        np.testing.assert_array_equal(np.asarray(opened), picture)


def test_jpeg_lossless_uses_the_predictor_its_uid_promises() -> None:
    def predictor(syntax: uid.UID) -> int:
        code = encode(gradient(), 12, syntax)
        return code[code.rindex(b"\xff\xda") + 7]

    assert predictor(uid.JPEGLosslessSV1) == 1
    assert predictor(uid.JPEGLossless) == 6


@pytest.mark.parametrize(
    ("bits", "syntax", "match"),
    [
        (12, uid.JPEGBaseline8Bit, "carries 8 bits"),
        (8, uid.JPEGExtended12Bit, "carries 12 bits"),
        (12, uid.ExplicitVRBigEndian, "no encoder"),
        (10, uid.ExplicitVRLittleEndian, "more than 10 bits"),
    ],
)
def test_what_cannot_be_written_is_refused(bits: int, syntax: uid.UID, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        encode(gradient(bits=max(bits, 12) if bits == 10 else bits), bits, syntax)


def test_quality_decides_size() -> None:
    picture = gradient()
    fine = encode(picture, 12, uid.JPEG2000)
    coarse = encode(picture, 12, uid.JPEG2000, LossyQuality(jpeg2000=40))
    assert len(coarse) < len(fine)
