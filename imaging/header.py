"""Reading a header safely, and what the ledger keeps of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import pydicom
from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.tag import BaseTag, Tag

from core.errors import RejectedInput
from core.uids import is_uid
from imaging.elements import number, quiet, text, texts
from imaging.reading import Attributes
from imaging.reasons import Rejection
from imaging.skeleton import PixelElement, walk
from imaging.text import age_between, clean, parse_age, parse_date

# Everything any stage asks of a header; nothing else is kept, so nothing else can be parsed later.
_KEYWORDS: Final = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate"),
    *("AcquisitionDate", "ContentDate", "AccessionNumber", "Modality", "PresentationIntentType", "Manufacturer"),
    *("StudyDescription", "SeriesDescription", "ManufacturerModelName", "AnatomicRegionSequence"),
    *("PerformedProcedureStepDescription", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "PatientAge", "BodyPartExamined", "ProtocolName", "ViewPosition", "StudyInstanceUID"),
    *("SeriesInstanceUID", "PatientOrientation", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "BurnedInAnnotation", "WindowCenter", "WindowWidth", "RescaleIntercept"),
    *("RescaleSlope", "VOILUTFunction", "PresentationLUTShape", "ModalityLUTSequence", "VOILUTSequence"),
    "ViewCodeSequence",
)
# (60xx,0102): overlays that lie in unused bits of the pixel data, retired but still met (PS3.3-2004 C.9.2)
OVERLAY_BIT_POSITIONS: Final[tuple[BaseTag, ...]] = tuple(Tag(group, 0x0102) for group in range(0x6000, 0x6020, 2))
_UIDS: Final = ("StudyInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True, slots=True)
class Header:
    """A header that has been read.

    Attributes
    ----------
    dataset : Dataset
        The elements any stage asks for, without pixel data.
    transfer_syntax_uid : str
        (0002,0010).
    pixels : PixelElement or None
        Where the pixel data lie.
    """

    dataset: Dataset
    transfer_syntax_uid: str
    pixels: PixelElement | None


def read_header(content: bytes | memoryview) -> Header:
    """Read the header of a Part 10 file, pixel data untouched.

    Parameters
    ----------
    content : bytes or memoryview
        The whole file; its size is the caller's matter.

    Raises
    ------
    RejectedInput
        As `imaging.skeleton.walk` for its structure; ``BAD_HEADER`` where
        pydicom cannot read the elements.
    """
    skeleton = walk(content)
    wanted = [*(Tag(keyword) for keyword in _KEYWORDS), *OVERLAY_BIT_POSITIONS]
    with quiet():
        try:
            dataset = pydicom.dcmread(
                io.BytesIO(content[: skeleton.header_end]), specific_tags=list(wanted), stop_before_pixels=True
            )
        except MemoryError:
            raise
        except Exception as error:  # whatever pydicom raises for bytes it did not expect; its text may quote them
            raise RejectedInput(
                Rejection.BAD_HEADER, f"the header cannot be parsed ({type(error).__name__})"
            ) from error
    return Header(dataset, skeleton.transfer_syntax_uid, skeleton.pixels)


def attributes(header: Header, view: str | None, *, keep_patient_name: bool) -> Attributes:
    """Take from a header what the ledger keeps.

    Parameters
    ----------
    view : str or None
        As `imaging.scope` read it.

    Raises
    ------
    RejectedInput
        ``BAD_UID`` if an identifier of study, series, class or instance is
        missing or none (`core.uids.is_uid`); ``BAD_HEADER`` if an element
        cannot be read.
    """
    dataset = header.dataset
    uids = {keyword: text(dataset, keyword).rstrip("\0 ") for keyword in (*_UIDS, "SeriesInstanceUID")}
    for keyword, value in uids.items():
        if not is_uid(value) and (value or keyword in _UIDS):
            problem = "is not a valid UID (PS3.5 9.1)" if value else "is missing"
            raise RejectedInput(Rejection.BAD_UID, f"{keyword} {problem}")

    def column(keyword: str, length: int) -> str | None:
        return clean(text(dataset, keyword), length)

    return Attributes(
        study_uid=uids["StudyInstanceUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=uids["SOPClassUID"],
        transfer_syntax_uid=header.transfer_syntax_uid,
        series_uid=uids["SeriesInstanceUID"] or None,
        accession_number=column("AccessionNumber", 64),
        patient_id=column("PatientID", 64),
        issuer_of_patient_id=column("IssuerOfPatientID", 64),
        patient_name=column("PatientName", 324) if keep_patient_name else None,
        study_date=parse_date(text(dataset, "StudyDate")),
        modality=column("Modality", 16),
        body_part=column("BodyPartExamined", 64),
        view=clean(view or "", 16),
        patient_age_days=age_days(dataset),
        patient_sex=column("PatientSex", 16),
        manufacturer=column("Manufacturer", 64),
        rows=number(dataset, "Rows"),
        columns=number(dataset, "Columns"),
        manufacturer_model=column("ManufacturerModelName", 64),
    )


def age_days(dataset: Dataset) -> int | None:
    """Return the patient's age in days: PatientAge (0010,1010), else from birth to the study.

    An age of zero units is what some devices write for "not entered", so a
    birth date overrules it.
    """
    stated = parse_age(text(dataset, "PatientAge"))
    if stated:
        return stated
    birth = parse_date(text(dataset, "PatientBirthDate"))
    for keyword in ("StudyDate", "AcquisitionDate", "ContentDate", "SeriesDate"):
        then = parse_date(text(dataset, keyword))
        if birth is not None and then is not None:
            calculated = age_between(birth, then)
            return stated if calculated is None else calculated
    return stated


def has_unknown_character_set(dataset: Dataset) -> bool:
    """Return whether (0008,0005) names a character set that PS3.3 C.12.1.1.2 does not.

    Its text is then decoded as if it were ISO 8859-1: wrong letters are
    better than no result, and the annotation says why they are wrong.
    """
    return any(name not in python_encoding for name in texts(dataset, "SpecificCharacterSet"))
