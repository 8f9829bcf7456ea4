"""Valid DX and CR objects around a picture, in any transfer syntax; nothing in them belongs to a person.

Modules and attribute types follow PS3.3 A.26 (Digital X-Ray) and A.2 (Computed
Radiography): type 1 filled, type 2 present. A MONOCHROME1 object is the same
picture stored upside down, as such a detector would.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from imaging.phantom.encode import LOSSY_METHODS, LossyQuality, encode, is_native

_BYTE_BITS: Final = 8
_LOWEST_BITS: Final = 6  # PS3.3 C.8.11.3.1.3, smallest Bits Stored of a DX image
_HIGHEST_BITS: Final = 16
# (0008,2218) Anatomic Region Sequence, CID 4009, and (0054,0220) View Code Sequence, CID 4010
_REGIONS: Final = {
    "CHEST": ("816094009", "Chest"),
    "HAND": ("85562004", "Hand"),
    "ABDOMEN": ("818981001", "Abdomen"),
}
_VIEWS: Final = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}
# (0020,0020) Patient Orientation, rows then columns: which way a viewer's right and bottom lie in the patient
_ORIENTATIONS: Final = {"LL": ["A", "F"], "RL": ["P", "F"], "PA": ["L", "F"], "AP": ["L", "F"]}


class Modality(StrEnum):
    """Which information object carries the picture."""

    DX = "DX"
    CR = "CR"


SOP_CLASSES: Final[dict[Modality, uid.UID]] = {
    Modality.DX: uid.DigitalXRayImageStorageForPresentation,
    Modality.CR: uid.ComputedRadiographyImageStorage,
}


class Uids:
    """New UIDs from a seed, the same ones in the same order for the same seed.

    Parameters
    ----------
    seed : str
        Whoever needs UIDs that were never seen before passes a random one.

    References
    ----------
    DICOM PS3.5 B.2, UUID derived UIDs: ``2.25.`` and 128 bits in decimal.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def new(self) -> uid.UID:
        """Return the next UID."""
        self._count += 1
        digest = hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()
        return uid.UID(f"2.25.{int.from_bytes(digest[:16])}")


@dataclass(frozen=True, slots=True)
class Patient:
    """Whom the object says it shows; never anybody.

    Attributes
    ----------
    age : str or None
        (0010,1010) *Patient's Age* such as ``003Y``; None leaves it out.
    birth_date : date or None
        (0010,0030); None leaves it empty.
    """

    name: str = "Phantom^Thorax"
    patient_id: str = "PHANTOM-1"
    sex: str = "O"
    age: str | None = "003Y"
    birth_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomObject:
    """Everything that decides the bytes of one object.

    Attributes
    ----------
    picture : ndarray of uint16, shape (rows, columns)
        Larger is brighter on the screen; each value below ``2**bits_stored``.
    study_uid, series_uid, sop_instance_uid : UID
        Usually from `Uids`.
    syntax : UID
        One of `imaging.phantom.encode.ENCODABLE`.
    bits_stored : int
        6 to 16 for DX.
    monochrome1 : bool
        Store the picture inverted and say so.
    body_part, view : str or None
        (0018,0015) and (0018,5101); None leaves them out.
    coded : bool
        Whether region and view stand as codes too (DX only).
    window : (float, float) or None
        (0028,1050) *Window Center* and (0028,1051) *Window Width* in stored
        values before inversion; None is the whole range.
    pixel_spacing : float
        Millimetres at the detector.
    derivation : str
        (0008,2111) *Derivation Description*.
    """

    picture: NDArray[np.uint16] = field(repr=False)
    study_uid: uid.UID
    series_uid: uid.UID
    sop_instance_uid: uid.UID
    modality: Modality = Modality.DX
    syntax: uid.UID = uid.ExplicitVRLittleEndian
    bits_stored: int = 12
    monochrome1: bool = False
    body_part: str | None = "CHEST"
    view: str | None = "AP"
    coded: bool = True
    window: tuple[float, float] | None = None
    patient: Patient = field(default_factory=Patient)
    accession_number: str = "PHANTOM-A1"
    study_date: date = date(2024, 1, 2)
    pixel_spacing: float = 0.1
    derivation: str = "Computed phantom, no person"
    quality: LossyQuality | None = None


def build(plan: PhantomObject) -> Dataset:
    """Build the object, file meta information included.

    Raises
    ------
    ValueError
        If the depth is not one the object can have, or the transfer syntax cannot carry it.
    """
    if not _LOWEST_BITS <= plan.bits_stored <= _HIGHEST_BITS:
        message = f"Bits Stored is {plan.bits_stored}; a radiograph has {_LOWEST_BITS} to {_HIGHEST_BITS}"
        raise ValueError(message)
    dataset = Dataset()
    dataset.file_meta = _file_meta(plan)
    _common(dataset, plan)
    if plan.modality is Modality.DX:
        _digital_x_ray(dataset, plan)
    _picture(dataset, plan)
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """Return the object as a Part 10 file."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def break_code_stream(dataset: Dataset) -> None:
    """Damage compressed pixel data beyond decoding, leaving header and lengths right.

    The start of the code stream goes, because decoders forgive much of what is wrong further on.
    """
    frame = bytearray(dataset.PixelData)
    # past the basic offset table and the fragment's tag: 8 bytes each, and the table's entry where there is one
    start = frame.index(b"\xfe\xff\x00\xe0", 8) + 8
    frame[start : start + 256] = b"\x55" * 256
    dataset.PixelData = bytes(frame)


def truncated(content: bytes, share: float) -> bytes:
    """Keep only the first part of a file, as a transfer that broke off would."""
    return content[: int(len(content) * share)]


def _file_meta(plan: PhantomObject) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[plan.modality]
    meta.MediaStorageSOPInstanceUID = plan.sop_instance_uid
    meta.TransferSyntaxUID = plan.syntax
    meta.ImplementationClassUID = uid.UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _common(dataset: Dataset, plan: PhantomObject) -> None:
    """Patient, study, series, equipment and general image modules."""
    day = plan.study_date.strftime("%Y%m%d")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SOP_CLASSES[plan.modality]
    dataset.SOPInstanceUID = plan.sop_instance_uid
    dataset.PatientName = plan.patient.name
    dataset.PatientID = plan.patient.patient_id
    dataset.PatientBirthDate = plan.patient.birth_date.strftime("%Y%m%d") if plan.patient.birth_date else ""
    dataset.PatientSex = plan.patient.sex
    if plan.patient.age is not None:
        dataset.PatientAge = plan.patient.age
    dataset.StudyInstanceUID = plan.study_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = plan.accession_number
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "1"
    dataset.SeriesInstanceUID = plan.series_uid
    dataset.SeriesNumber = 1
    dataset.Modality = plan.modality.value
    dataset.Manufacturer = "Phantom"
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = _ORIENTATIONS.get(plan.view or "", ["L", "F"])
    if plan.body_part is not None:
        dataset.BodyPartExamined = plan.body_part
    elif plan.modality is Modality.CR:
        dataset.BodyPartExamined = ""
    if plan.view is not None:
        dataset.ViewPosition = plan.view
    elif plan.modality is Modality.CR:
        dataset.ViewPosition = ""


def _digital_x_ray(dataset: Dataset, plan: PhantomObject) -> None:
    """DX series, anatomy imaged, image, detector and positioning modules, PS3.3 C.8.11."""
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageLaterality = "U"
    region = _REGIONS.get(plan.body_part or "") if plan.coded else None
    dataset.AnatomicRegionSequence = [_code(*region)] if region else []
    view = _VIEWS.get(plan.view or "") if plan.coded else None
    if view:
        dataset.ViewCodeSequence = [_code(*view)]
    dataset.AcquisitionContextSequence = []
    dataset.PixelIntensityRelationship = "LOG"
    # whether a larger stored value stands for more X-ray intensity
    dataset.PixelIntensityRelationshipSign = 1 if plan.monochrome1 else -1
    dataset.RescaleIntercept = "0"
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "US"
    dataset.DerivationDescription = plan.derivation
    dataset.AcquisitionDeviceProcessingDescription = ""
    dataset.DetectorType = "SCINTILLATOR"
    dataset.ImagerPixelSpacing = [plan.pixel_spacing, plan.pixel_spacing]


def _picture(dataset: Dataset, plan: PhantomObject) -> None:
    ceiling = (1 << plan.bits_stored) - 1
    centre, width = plan.window or ((ceiling + 1) / 2, ceiling + 1)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if plan.monochrome1 else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if plan.monochrome1 else "IDENTITY"
    dataset.Rows, dataset.Columns = plan.picture.shape
    dataset.BitsAllocated = 8 if plan.bits_stored <= _BYTE_BITS else 16
    dataset.BitsStored = plan.bits_stored
    dataset.HighBit = plan.bits_stored - 1
    dataset.PixelRepresentation = 0
    # mirrored about the middle of PS3.3 C.11.2.1.2.1, which counts from centre - 0.5
    dataset.WindowCenter = ceiling + 1 - centre if plan.monochrome1 else centre
    dataset.WindowWidth = width
    # letters, but none that would identify anybody, which is what PS3.3 C.7.6.1.1.1 asks
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"

    stored = ceiling - plan.picture if plan.monochrome1 else plan.picture
    frame = encode(stored.astype(np.uint16), plan.bits_stored, plan.syntax, plan.quality)
    if plan.syntax in LOSSY_METHODS:
        dataset.LossyImageCompression = "01"
        raw = stored.size * (dataset.BitsAllocated // 8)
        dataset.LossyImageCompressionRatio = f"{raw / len(frame):.2f}"
        dataset.LossyImageCompressionMethod = LOSSY_METHODS[plan.syntax]
    if is_native(plan.syntax):
        dataset.PixelData = frame + b"\0" * (len(frame) % 2)
        dataset["PixelData"].VR = "OB" if plan.bits_stored <= _BYTE_BITS else "OW"
    else:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "SCT"
    code.CodeMeaning = meaning
    return code
