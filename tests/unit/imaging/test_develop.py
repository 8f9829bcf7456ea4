"""However little of an image is decoded, the model sees what a full decode would have shown it.

Full means: every pixel, rendered in floats' place by the table, one Lanczos filter, one triangle; written out here
once more, so that nothing the code does to be fast can hide in both.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from core.errors import RejectedInput
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from imaging.decode.dispatch import decode
from imaging.develop import Developed, develop
from imaging.grayscale import render
from imaging.header import read_header
from imaging.master import FULL_SCALE, LONGEST_SIDE
from imaging.phantom.radiograph import radiograph
from imaging.reasons import Rejection
from imaging.sampling import FULL
from imaging.spec import PreprocessSpec
from tests.factories import dicom_objects as objects
from tests.shared_data import shared_data

BUDGET = 64 << 20
# grey levels of 255, root mean square at 224 pixels
MOST = 0.8
SPEC = PreprocessSpec(input_size=224, channels=1)
REDUCED = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


def developed(dataset: Dataset | bytes, **options: Any) -> Developed:
    content = dataset if isinstance(dataset, bytes) else objects.part10(dataset)
    return develop(read_header(content), content, BUDGET, **options)


def plainly(dataset: Dataset | bytes) -> NDArray[np.uint16]:
    """The master, the slow way."""
    content = dataset if isinstance(dataset, bytes) else objects.part10(dataset)
    header = read_header(content)
    module, stored = decode(header, content, BUDGET)
    grey = render(stored, module, header.dataset).table[stored & ((1 << module.bits_stored) - 1)]
    scale = LONGEST_SIDE / max(grey.shape)
    size = [int(side * scale + 0.5) for side in reversed(grey.shape)]
    filtered = Image.fromarray(grey.astype(np.float32)).resize((size[0], size[1]), Image.Resampling.LANCZOS)
    return np.rint(np.asarray(filtered)).clip(0, FULL_SCALE).astype(np.uint16)


def off(one: NDArray[np.uint16], other: NDArray[np.uint16]) -> float:
    """Return by how much two masters' model inputs differ, grey levels."""
    return 255 * float(np.sqrt(np.mean((SPEC.apply(one) - SPEC.apply(other)) ** 2)))


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint16]:
    """A noisy radiograph, both sides odd in the way that Pillow and OpenJPEG round differently."""
    return radiograph("clear", 3, (1305, 1145)).astype(np.uint16)


@pytest.mark.parametrize(
    ("syntax", "monochrome1"),
    [*((syntax, False) for syntax in SUPPORTED_TRANSFER_SYNTAXES), (uid.HTJ2KLossless, True), (uid.RLELossless, True)],
)
def test_every_syntax_gives_the_input_of_a_full_decode(
    picture: NDArray[np.uint16], syntax: str, *, monochrome1: bool
) -> None:
    eight = syntax == uid.JPEGBaseline8Bit
    stored, bits = (picture >> np.uint16(4), 8) if eight else (picture, 12)
    dataset = objects.phantom(picture=stored, bits_stored=bits, syntax=uid.UID(syntax), monochrome1=monochrome1)
    found = developed(dataset)
    assert off(found.master, plainly(dataset)) <= (MOST if syntax in REDUCED else 0.1)
    # one level of 1305 pixels leaves 653: enough
    assert found.sampling.step == (2 if syntax in REDUCED else 1)
    assert (found.pixels_digest is None) == (syntax in REDUCED)
    assert found.shorter_side == 1145


def test_baseline_jpeg_is_decoded_at_half_its_size_where_that_is_enough() -> None:
    large = radiograph("clear", 4, (1640, 2051)).astype(np.uint16) >> np.uint16(4)
    dataset = objects.phantom(picture=large, bits_stored=8, syntax=uid.JPEGBaseline8Bit)
    found = developed(dataset)
    assert (found.sampling.step, found.pixels_digest) == (2, None)
    assert off(found.master, plainly(dataset)) < 0.2


def test_two_levels_are_left_out_of_a_large_image() -> None:
    dataset = objects.phantom(picture=radiograph("clear", 5, (2049, 2561)).astype(np.uint16), syntax=uid.HTJ2KLossless)
    found = developed(dataset)
    assert found.sampling.step == 4
    assert off(found.master, plainly(dataset)) <= MOST


def test_without_the_half_pixel_the_image_would_have_moved(picture: NDArray[np.uint16]) -> None:
    """The bar is one that a sampling laid half a pixel off does not pass."""
    dataset = objects.phantom(picture=picture, syntax=uid.HTJ2KLossless)
    moved = np.roll(developed(dataset).master, 1, axis=1)
    assert off(moved, plainly(dataset)) > MOST


@pytest.mark.parametrize(
    ("window", "step"),
    [((2048, 4096), 2), ((1800, 20), 1), ((1800, 100), 1)],
    ids=["straight", "a threshold", "narrow"],
)
def test_a_window_that_bends_values_takes_more_pixels(
    picture: NDArray[np.uint16], window: tuple[float, float], step: int
) -> None:
    dataset = objects.phantom(picture=picture, syntax=uid.HTJ2KLossless, window=window)
    found = developed(dataset)
    assert found.sampling.step == step
    assert off(found.master, plainly(dataset)) <= MOST


@pytest.mark.parametrize("width", [400, 1600, 2500, None])
@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
def test_any_window_keeps_the_bar(picture: NDArray[np.uint16], width: int | None, function: str) -> None:
    dataset = objects.phantom(picture=picture, syntax=uid.HTJ2KLossless)
    if width is None:
        del dataset.WindowCenter, dataset.WindowWidth
    else:
        dataset.WindowCenter, dataset.WindowWidth = 1800, width
    dataset.VOILUTFunction = function
    assert off(developed(dataset).master, plainly(dataset)) <= MOST


def _padded(dataset: Dataset) -> None:
    dataset.PixelPaddingValue = 0


def _overlays(dataset: Dataset) -> None:
    dataset.add_new(0x60000102, "US", 12)


def _sign(dataset: Dataset) -> None:
    dataset.PixelRepresentation = 1


@pytest.mark.parametrize("change", [_padded, _overlays, _sign])
def test_where_a_mean_of_words_means_nothing_every_pixel_is_decoded(picture: NDArray[np.uint16], change: Any) -> None:
    dataset = objects.phantom(picture=picture, syntax=uid.HTJ2KLossless)
    change(dataset)
    found = developed(dataset)
    assert found.sampling == FULL
    assert found.pixels_digest is not None


def test_every_pixel_is_decoded_on_request(picture: NDArray[np.uint16]) -> None:
    whole = {
        developed(objects.phantom("one", picture=picture, syntax=syntax), every_pixel=True).pixels_digest
        for syntax in (uid.HTJ2KLossless, uid.ExplicitVRLittleEndian)
    }
    assert len(whole) == 1
    assert None not in whole


def test_a_smaller_image_without_detail_does_not_make_the_image_blank() -> None:
    flat = np.full((1300, 1000), 100, np.uint16)
    # one pixel in the finest level alone
    flat[501, 501] = 101
    dataset = objects.phantom(picture=flat, syntax=uid.HTJ2KLossless)
    del dataset.WindowCenter, dataset.WindowWidth
    assert developed(dataset).sampling == FULL


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.HTJ2KLossless, uid.JPEGBaseline8Bit])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_stream_cut_short_is_never_half_an_image(syntax: uid.UID, share: float) -> None:
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    dataset = objects.phantom(picture=objects.gradient(300, 2100, bits), bits_stored=bits, syntax=syntax)
    content = bytearray(objects.part10(dataset))
    header = read_header(bytes(content))
    assert header.pixels is not None
    start, length = header.pixels.fragments[0]
    kept = int(length * share)
    content[start + kept : start + length] = bytes(length - kept)
    with pytest.raises(RejectedInput) as caught:
        developed(bytes(content))
    assert caught.value.reason == Rejection.DECODE_FAILED


def test_originals_give_the_input_of_a_full_decode_in_every_lossless_syntax() -> None:
    archive = zipfile.ZipFile(shared_data("chest_xray_fullres_sample.zip"))
    names = sorted(name for name in archive.namelist() if PurePosixPath(name).suffix == ".jpeg")
    syntaxes = (uid.JPEG2000Lossless, uid.HTJ2KLossless, uid.JPEGLosslessSV1, uid.RLELossless)
    for name in names[5::40]:
        grey = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
        stored = np.rint(grey * (4095 / 255)).astype(np.uint16)
        expected = plainly(objects.phantom(picture=stored))
        for syntax in syntaxes:
            assert off(developed(objects.phantom(picture=stored, syntax=syntax)).master, expected) <= MOST
