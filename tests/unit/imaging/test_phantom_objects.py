from __future__ import annotations

import subprocess
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from pydicom import dcmread, uid
from pydicom.pixels import apply_voi_lut, pixel_array

from imaging.phantom.encode import ENCODABLE
from imaging.phantom.pictures import stored_values
from imaging.phantom_objects import Modality, Patient, Uids
from tests.factories import dicom_objects as factory

# PS3.3 A.26 and A.2: type 1 and 2 of the modules that are mandatory for both, then for DX alone
BOTH = [
    "SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate",
    "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
    "AccessionNumber", "Modality", "SeriesInstanceUID", "SeriesNumber", "Manufacturer", "InstanceNumber",
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelData",
]  # fmt: skip
DX = [
    "PresentationIntentType", "ImageLaterality", "AnatomicRegionSequence", "ImageType", "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign", "RescaleIntercept", "RescaleSlope", "RescaleType", "PresentationLUTShape",
    "LossyImageCompression", "PatientOrientation", "BurnedInAnnotation", "WindowCenter", "WindowWidth",
    "DetectorType", "ImagerPixelSpacing", "AcquisitionContextSequence", "DerivationDescription",
    "AcquisitionDeviceProcessingDescription",
]  # fmt: skip


@pytest.mark.parametrize("modality", list(Modality))
def test_mandatory_attributes_are_there(modality: Modality) -> None:
    dataset = factory.phantom("seed", modality=modality)
    missing = [name for name in BOTH + (DX if modality is Modality.DX else ["BodyPartExamined", "ViewPosition"])
               if name not in dataset]  # fmt: skip
    assert missing == []
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID


@pytest.mark.requires("dcmdump")
@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("syntax", ENCODABLE, ids=str)
def test_dcmtk_reads_every_object_without_a_warning(syntax: uid.UID, modality: Modality, tmp_path: Path) -> None:
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    path = factory.write(tmp_path, factory.phantom("seed", syntax=syntax, bits_stored=bits, modality=modality))
    assert subprocess.run(["dcmftest", str(path)], check=False).returncode == 0
    dumped = subprocess.run(["dcmdump", str(path)], capture_output=True, text=True, check=True)
    assert dumped.stderr == ""
    assert "BitsStored" in dumped.stdout


def test_monochrome1_shows_the_same_picture() -> None:
    picture = factory.gradient()
    window = (1500.0, 2400.0)
    shown = []
    for inverted in (False, True):
        content = factory.part10(factory.phantom("seed", picture=picture, monochrome1=inverted, window=window))
        dataset = dcmread(BytesIO(content))
        values = apply_voi_lut(pixel_array(dataset), dataset)
        shown.append(4095 - values if inverted else values)
        assert dataset.PhotometricInterpretation == ("MONOCHROME1" if inverted else "MONOCHROME2")
        assert dataset.PresentationLUTShape == ("INVERSE" if inverted else "IDENTITY")
    np.testing.assert_allclose(shown[0], shown[1], atol=2)


def test_the_default_window_changes_nothing() -> None:
    picture = factory.gradient()
    dataset = factory.phantom("seed", picture=picture)
    np.testing.assert_allclose(apply_voi_lut(picture, dataset), picture, atol=1e-6)


def test_equal_seeds_give_equal_bytes_and_uids_are_valid() -> None:
    assert factory.part10(factory.phantom("a")) == factory.part10(factory.phantom("a"))
    assert factory.phantom("a").SOPInstanceUID != factory.phantom("b").SOPInstanceUID
    uids = Uids("a")
    made = [uids.new() for _ in range(50)]
    assert len(set(made)) == 50
    assert all(one.is_valid and len(one) <= 64 for one in made)


@pytest.mark.parametrize("bits", [5, 17])
def test_a_depth_no_radiograph_has_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="a radiograph has 6 to 16"):
        factory.phantom(picture=factory.gradient(bits=5), bits_stored=bits)


def test_what_is_unknown_is_left_out() -> None:
    dataset = factory.phantom(patient=Patient(age=None, birth_date=date(2020, 2, 29)), view=None, body_part=None)
    assert "PatientAge" not in dataset
    assert "ViewPosition" not in dataset
    assert "BodyPartExamined" not in dataset
    assert dataset.PatientBirthDate == "20200229"


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.RLELossless])
def test_a_broken_code_stream_keeps_lengths_and_does_not_decode(syntax: uid.UID) -> None:
    sound, broken = factory.phantom("x", syntax=syntax), factory.broken_code_stream(seed="x", syntax=syntax)
    assert len(factory.part10(sound)) == len(factory.part10(broken))
    assert sound.PixelData != broken.PixelData


def test_planted_faults_are_what_they_say() -> None:
    assert b"PHAN\0TOM" in factory.part10(factory.with_nul_in_text())
    assert b"ISO_IR 999" in factory.unknown_character_set_file()
    assert factory.bad_uid_file().count(b"1.2/../../etc") == 2
    assert "PixelData" not in factory.without_pixels()
    assert factory.colour().SamplesPerPixel == 3
    assert factory.multi_frame(4).NumberOfFrames == 4
    assert factory.structured_report().Modality == "SR"
    assert factory.for_processing().SOPClassUID == uid.DigitalXRayImageStorageForProcessing
    whole, cut = factory.part10(factory.phantom("t")), factory.truncated_file(0.5, seed="t")
    assert whole.startswith(cut)
    assert len(cut) == len(whole) // 2


def test_a_picture_of_eight_bits_is_stored_reversibly() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stream = BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    stored = stored_values(stream.getvalue())
    assert stored.dtype == np.uint16
    assert (stored.min(), stored.max()) == (0, 4095)
    np.testing.assert_array_equal(stored >> 4, values)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UnidentifiedImageError):
        stored_values(b"no picture at all")
