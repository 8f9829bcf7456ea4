"""Our grayscale pipeline against DCMTK's viewer library, a second implementation of PS3.3 C.11."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from imaging.decode.dispatch import decode
from imaging.grayscale import render
from imaging.header import read_header
from tests.factories import dicom_objects as objects

pytestmark = pytest.mark.requires("dcm2pnm")


def compare(folder: Path, dataset: Dataset, option: str) -> int:
    """Return the largest difference of both renderings, of 65535."""
    source, picture = objects.write(folder, dataset), folder / "viewer.pgm"
    command = ["dcm2pnm", "--write-16-bit-pnm", option, "1", source, picture]
    subprocess.run(command, check=True, capture_output=True)
    content = source.read_bytes()
    header = read_header(content)
    module, stored = decode(header, content, 1 << 24)
    grey = render(stored, module, header.dataset).apply(stored)
    return int(np.abs(np.asarray(Image.open(picture)).astype(int) - grey).max())


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
@pytest.mark.parametrize("monochrome1", [False, True])
def test_windows(tmp_path: Path, function: str, *, monochrome1: bool) -> None:
    dataset = objects.phantom(monochrome1=monochrome1)
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 1500, 1800, function
    # the last bit may be rounded apart
    assert compare(tmp_path, dataset, "+Wi") <= 1


@pytest.mark.parametrize("monochrome1", [False, True])
def test_lookup_tables(tmp_path: Path, *, monochrome1: bool) -> None:
    dataset = objects.phantom(monochrome1=monochrome1)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", (np.arange(4096) ** 2 // 4095).astype("<u2").tobytes())
    dataset.VOILUTSequence = [item]
    # one step of a 12-bit table is 16 of 65535
    assert compare(tmp_path, dataset, "+Wl") <= 16


def test_rescale_and_window(tmp_path: Path) -> None:
    dataset = objects.phantom()
    # a whole slope: the viewer rounds modality values to whole numbers, which the standard does not ask for
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-300"
    dataset.WindowCenter, dataset.WindowWidth = 3000, 3600
    assert compare(tmp_path, dataset, "+Wi") <= 1
