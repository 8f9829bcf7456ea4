"""Objects DCMTK compressed, against DCMTK's own decoders: our encoder and decoder share libraries, these do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid

from imaging.decode.dispatch import decode
from imaging.header import read_header
from tests.factories import dicom_objects as objects
from tests.programs import require

# encoder, its option, decoder, bits stored, largest difference (inverse cosine transforms round apart)
CODERS = {
    uid.JPEGLossless: ("dcmcjpeg", "+el", "dcmdjpeg", 12, 0),
    uid.JPEGLosslessSV1: ("dcmcjpeg", "+e1", "dcmdjpeg", 12, 0),
    uid.JPEGBaseline8Bit: ("dcmcjpeg", "+eb", "dcmdjpeg", 8, 1),
    uid.JPEGExtended12Bit: ("dcmcjpeg", "+ee", "dcmdjpeg", 12, 1),
    uid.JPEGLSLossless: ("dcmcjpls", "+el", "dcmdjpls", 12, 0),
    uid.JPEGLSNearLossless: ("dcmcjpls", "+en", "dcmdjpls", 12, 0),
    uid.RLELossless: ("dcmcrle", None, "dcmdrle", 12, 0),
}


@pytest.mark.parametrize("syntax", list(CODERS), ids=lambda syntax: syntax.keyword)
def test_what_dcmtk_compressed_decodes_as_dcmtk_decodes_it(tmp_path: Path, syntax: uid.UID) -> None:
    encoder, option, decoder, bits, tolerance = CODERS[syntax]
    compress, decompress = require(encoder), require(decoder)
    picture = objects.gradient(200, 160, bits)
    source = objects.write(tmp_path, objects.phantom(picture=picture, bits_stored=bits))
    compressed, back = tmp_path / "compressed.dcm", tmp_path / "back.dcm"
    subprocess.run([compress, *([option] if option else []), source, compressed], check=True, capture_output=True)
    subprocess.run([decompress, compressed, back], check=True, capture_output=True)
    content = compressed.read_bytes()
    header = read_header(content)
    assert header.transfer_syntax_uid == syntax
    _, stored = decode(header, content, 1 << 24)
    theirs = pydicom.dcmread(back).pixel_array
    assert np.abs(stored.astype(int) - theirs.astype(int)).max() <= tolerance
    if tolerance == 0 and syntax != uid.JPEGLSNearLossless:
        np.testing.assert_array_equal(stored, picture)
