from __future__ import annotations

import io
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import DataElement, Dataset, uid

from core.errors import TransientFailure
from core.settings import Settings
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from imaging.eight_bit import master_from_picture
from imaging.elements import quiet
from imaging.instance import MAXIMUM_FILE_BYTES, ReadingRules, read_instance
from imaging.master import load_master, shrink
from imaging.reading import Attributes, Reading
from imaging.reasons import Annotation, Rejection, ScopeReason
from imaging.scope import ScopeRules
from imaging.spec import PreprocessSpec, input_digest
from tests.factories import dicom_objects as objects

# name, identifiers, UIDs and descriptions of the objects these tests send: no detail may quote them
SECRETS = ("Phantom^", "PHANTOM-", "2.25.", "1.2/..", "Computed phantom")
AGES = (365.0, 6 * 365.25)


def rules(maximum_decoded_bytes: int = 64 << 20, *, keep_patient_name: bool = False) -> ReadingRules:
    return ReadingRules(ScopeRules.from_settings(Settings(), AGES), maximum_decoded_bytes, keep_patient_name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, content: bytes | Dataset, rule: ReadingRules | None = None) -> Reading:
    path = folder / "object.dcm"
    path.write_bytes(content if isinstance(content, bytes) else objects.part10(content))
    reading = read_instance(path, folder / "masters", rule or rules())
    ends = [reading.out_of_scope is not None, reading.rejected is not None, reading.master is not None]
    assert sum(ends) == 1
    assert reading.attributes is not None or reading.rejected is not None
    assert not any(secret in reading.detail for secret in SECRETS)
    return reading


def test_a_good_image_has_a_master(folder: Path) -> None:
    picture = objects.gradient(800, 600)
    dataset = objects.phantom(picture=picture)
    dataset.BurnedInAnnotation = "YES"
    reading = read(folder, dataset)
    assert reading.master is not None
    master = load_master(folder / "masters", reading.master.digest)
    # 12 bits over a full window: x / 4095
    expected = shrink(np.rint(picture / 4095 * 65535).astype(np.uint16))
    np.testing.assert_array_equal(master, expected)
    assert reading.master.quality.shorter_side == 600
    assert set(reading.seconds) == {"header", "decode", "grayscale", "digest", "master"}
    assert reading.annotations == (Annotation.BURNED_IN_ANNOTATION,)


def test_reading_again_gives_the_same(folder: Path) -> None:
    dataset = objects.phantom()
    assert read(folder, dataset).master == read(folder, dataset).master


LOSSLESS = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
]


@pytest.mark.parametrize("monochrome1", [False, True])
def test_one_image_in_every_lossless_syntax_is_one_image(folder: Path, *, monochrome1: bool) -> None:
    masters = {
        read(folder, objects.phantom("one", syntax=syntax, monochrome1=monochrome1)).master for syntax in LOSSLESS
    }
    assert len(masters) == 1
    assert None not in masters


def test_both_polarities_show_the_same_picture(folder: Path) -> None:
    one, two = (read(folder, objects.phantom(monochrome1=inverted)).master for inverted in (True, False))
    assert one is not None
    assert two is not None
    assert one.digest == two.digest
    assert one.pixels_digest != two.pixels_digest


def test_dicom_and_picture_give_identical_bytes_of_model_input(folder: Path) -> None:
    grey = objects.gradient(700, 900, bits=8)
    stream = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(stream, "PNG")
    spec = PreprocessSpec()
    expected = spec.apply(master_from_picture(stream.getvalue()))
    # as stored, through an identity window, and at 16 bits where 257 times the grey is stored
    plain = objects.phantom(picture=grey, bits_stored=8)
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "RescaleType"):
        del plain[keyword]
    for dataset in (
        plain,
        objects.phantom(picture=grey, bits_stored=8),
        objects.phantom(picture=grey, bits_stored=8, monochrome1=True, syntax=uid.JPEGLosslessSV1),
        objects.phantom(picture=grey * np.uint16(257), bits_stored=16),
    ):
        reading = read(folder, dataset)
        assert reading.master is not None
        given_input = spec.apply(load_master(folder / "masters", reading.master.digest))
        assert input_digest(given_input) == input_digest(expected)
        assert given_input.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("content", "rejection"),
    [
        (b"", Rejection.EMPTY),
        (b"not DICOM" * 100, Rejection.NOT_DICOM),
        (objects.truncated_file(), Rejection.TRUNCATED),
        (objects.truncated_file(0.999), Rejection.TRUNCATED),
        (objects.bad_uid_file(), Rejection.BAD_UID),
        (objects.part10(objects.without_pixels()), Rejection.NO_PIXEL_DATA),
        (objects.part10(objects.broken_code_stream()), Rejection.DECODE_FAILED),
        (objects.part10(objects.phantom(picture=np.full((96, 128), 9, np.uint16))), Rejection.BLANK),
    ],
    ids=lambda value: value.name if isinstance(value, Rejection) else "",
)
def test_what_is_wrong_is_named(folder: Path, content: bytes, rejection: Rejection) -> None:
    reading = read(folder, content)
    assert reading.rejected is rejection
    assert reading.detail


def test_attributes_survive_a_rejection(folder: Path) -> None:
    reading = read(folder, objects.broken_code_stream())
    assert reading.attributes is not None
    assert reading.attributes.accession_number == "PHANTOM-A1"


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (objects.structured_report(), ScopeReason.NOT_AN_IMAGE),
        (objects.lateral(), ScopeReason.VIEW),
        (objects.hand(), ScopeReason.BODY_PART),
        (objects.colour(), ScopeReason.COLOUR),
        (objects.multi_frame(), ScopeReason.MULTI_FRAME),
        (objects.for_processing(), ScopeReason.FOR_PROCESSING),
        (objects.huge_declared(), ScopeReason.MULTI_FRAME),
    ],
    ids=lambda value: value.name if isinstance(value, ScopeReason) else "",
)
def test_what_is_out_of_scope_is_never_decoded(folder: Path, dataset: Dataset, reason: ScopeReason) -> None:
    reading = read(folder, dataset)
    assert reading.out_of_scope is reason
    assert "decode" not in reading.seconds
    assert not (folder / "masters").exists()


def test_an_unknown_character_set_is_an_annotation(folder: Path) -> None:
    reading = read(folder, objects.unknown_character_set_file())
    assert reading.master is not None
    assert Annotation.UNKNOWN_CHARACTER_SET in reading.annotations


# The bombs: each must be refused from headers, in no time and without memory.


@pytest.mark.parametrize(
    ("excess", "rejected"), [(0, Rejection.NOT_DICOM), (1, Rejection.OVER_BUDGET)], ids=["at the limit", "over it"]
)
def test_a_file_over_the_limit_is_not_looked_into(folder: Path, excess: int, rejected: Rejection) -> None:
    path = folder / "object.dcm"
    with path.open("wb") as sparse:
        sparse.truncate(MAXIMUM_FILE_BYTES + excess)
    assert read_instance(path, folder / "masters", rules()).rejected is rejected


def test_row_15_a_66_byte_rle_fragment_that_declares_terabytes(folder: Path) -> None:
    dataset = objects.huge_declared(frames=None)
    start = time.process_time()
    assert read(folder, dataset).rejected is Rejection.OVER_BUDGET
    assert time.process_time() - start < 1


def test_row_16_rle_of_twenty_thousand_squared(folder: Path) -> None:
    dataset = objects.huge_declared(20_000, 20_000, None)
    assert read(folder, dataset, rules(512 << 20)).rejected is Rejection.OVER_BUDGET


def test_row_15_a_116_byte_jpeg_2000_stream_that_declares_more_than_its_header(folder: Path) -> None:
    dataset = objects.phantom(syntax=uid.JPEG2000Lossless)
    content = bytearray(objects.part10(dataset))
    at = content.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">2L", content, at + 8, 65535, 65535)
    start = time.process_time()
    reading = read(folder, bytes(content))
    assert reading.rejected is Rejection.BAD_PIXEL_MODULE
    assert "65535" in reading.detail
    assert time.process_time() - start < 1


def test_row_15_a_jpeg_stream_that_declares_more_than_its_header(folder: Path) -> None:
    dataset = objects.phantom(syntax=uid.JPEGLosslessSV1)
    content = bytearray(objects.part10(dataset))
    at = content.index(b"\xff\xc3")
    struct.pack_into(">2H", content, at + 5, 65500, 65500)
    assert read(folder, bytes(content)).rejected is Rejection.BAD_PIXEL_MODULE


def test_row_16_deflated_data_are_never_inflated(folder: Path) -> None:
    content = objects.part10(objects.phantom())
    syntax = content.index(b"1.2.840.10008.1.2.1\0")
    length = struct.pack("<H", 22)
    deflated = content[: syntax - 2] + length + b"1.2.840.10008.1.2.1.99" + content[syntax + 20 :]
    assert read(folder, deflated).rejected is Rejection.TRANSFER_SYNTAX


def test_a_missing_file_is_named(folder: Path) -> None:
    reading = read_instance(folder / "nothing.dcm", folder / "masters", rules())
    assert reading.rejected is Rejection.MISSING_FILE


def test_a_missing_directory_is_no_missing_file(folder: Path) -> None:
    with pytest.raises(TransientFailure, match="mounted"):
        read_instance(folder / "not-mounted" / "nothing.dcm", folder / "masters", rules())


def test_the_header_is_told_before_anything_is_decoded(folder: Path) -> None:
    path = folder / "object.dcm"
    path.write_bytes(objects.part10(objects.phantom()))
    told: list[Attributes] = []

    def tell(attributes: Attributes) -> None:
        assert not (folder / "masters").exists()
        told.append(attributes)

    reading = read_instance(path, folder / "masters", rules(), tell)
    assert told == [reading.attributes]
    assert reading.master is not None


def test_a_disk_that_refuses_is_transient(folder: Path) -> None:
    (folder / "masters").write_bytes(b"")
    with pytest.raises(TransientFailure):
        read(folder, objects.phantom())


@pytest.mark.parametrize(
    "keyword",
    ["Rows", "BitsStored", "NumberOfFrames", "WindowCenter", "RescaleSlope", "PixelPaddingValue", "VOILUTSequence"],
)
def test_a_value_that_is_no_number_is_named_and_never_quoted(folder: Path, keyword: str) -> None:
    dataset = objects.phantom()
    with quiet():
        # text where a number belongs, as a broken or hostile writer would leave it
        dataset[keyword] = DataElement(keyword, "LO", "Phantom^Canary")
    reading = read(folder, dataset)
    assert reading.rejected in {Rejection.BAD_HEADER, None}
    assert (reading.rejected is None) == (keyword == "VOILUTSequence")


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    path = Path(mkdtemp())
    yield path
    shutil.rmtree(path)


@given(content=st.binary(max_size=2000), preamble=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_typed_reading(scratch: Path, content: bytes, *, preamble: bool) -> None:
    read(scratch, bytes(128) + b"DICM" + content if preamble else content)


SOUND = [
    objects.part10(
        objects.phantom(
            "sound",
            picture=objects.gradient(32, 40, 8 if syntax == uid.JPEGBaseline8Bit else 12),
            bits_stored=8 if syntax == uid.JPEGBaseline8Bit else 12,
            syntax=uid.UID(syntax),
        )
    )
    for syntax in SUPPORTED_TRANSFER_SYNTAXES
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound object with bytes replaced, removed or doubled."""
    content = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(128, len(content) - 1))
        match draw(st.sampled_from(("replace", "remove", "double", "cut"))):
            case "replace":
                value = draw(st.binary(min_size=1, max_size=8))
                content[at : at + len(value)] = value
            case "remove":
                del content[at : at + draw(st.integers(1, 16))]
            case "double":
                content[at:at] = content[at : at + draw(st.integers(1, 64))]
            case _:
                content = content[: max(at, 200)]
    return bytes(content)


@given(content=damaged())
@settings(max_examples=300, deadline=None)
def test_damaged_objects_give_a_typed_reading(scratch: Path, content: bytes) -> None:
    read(scratch, content)
