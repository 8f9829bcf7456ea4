"""DICOM objects for tests: valid by default, and every way of being wrong that we name.

    from tests.factories.dicom_objects import phantom, part10, write

`phantom()` gives a small valid DX object; keywords go to `PhantomObject`.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from imaging.phantom_objects import PhantomObject, Uids, break_code_stream, build, to_bytes, truncated

_serial = itertools.count()


def gradient(rows: int = 96, columns: int = 128, bits: int = 12, seed: int = 0) -> NDArray[np.uint16]:
    """A bright disc on a slope with a little noise; uses most of the range and compresses like a picture."""
    ceiling = (1 << bits) - 1
    row, column = np.mgrid[:rows, :columns]
    disc = np.hypot((row - rows / 2) / rows, (column - columns / 2) / columns) < 0.3
    noise = np.random.default_rng(seed).normal(0, 0.01, (rows, columns))
    shade = 0.1 + 0.4 * row / rows + 0.15 * column / columns + 0.25 * disc + noise
    return np.clip(np.rint(shade * ceiling), 0, ceiling).astype(np.uint16)


def phantom(seed: str | None = None, **plan: Any) -> Dataset:
    """A valid object; without a seed its UIDs are new within the test run."""
    uids = Uids(seed if seed is not None else f"test-{next(_serial)}")
    if "picture" not in plan:
        plan["picture"] = gradient(bits=plan.get("bits_stored", 12))
    for name in ("study_uid", "series_uid", "sop_instance_uid"):
        plan.setdefault(name, uids.new())
    return build(PhantomObject(**plan))


def part10(dataset: Dataset) -> bytes:
    return to_bytes(dataset)


def write(folder: Path, dataset: Dataset, name: str = "object.dcm") -> Path:
    path = folder / name
    path.write_bytes(to_bytes(dataset))
    return path


def broken_code_stream(**plan: Any) -> Dataset:
    dataset = phantom(**({"syntax": uid.JPEG2000Lossless} | plan))
    break_code_stream(dataset)
    return dataset


def truncated_file(share: float = 0.6, **plan: Any) -> bytes:
    return truncated(to_bytes(phantom(**plan)), share)


def lateral(**plan: Any) -> Dataset:
    return phantom(**({"view": "LL"} | plan))


def hand(**plan: Any) -> Dataset:
    return phantom(**({"view": "PA", "body_part": "HAND"} | plan))


def without_pixels(**plan: Any) -> Dataset:
    dataset = phantom(**plan)
    del dataset.PixelData
    return dataset


def with_nul_in_text(**plan: Any) -> Dataset:
    dataset = phantom(**plan)
    # as raw bytes, for pydicom would warn of the value on setting it
    dataset.add_new("PatientID", "LO", b"PHAN\0TOM")
    dataset.add_new("AccessionNumber", "SH", b"A\x00\x01B")
    return dataset


def colour(**plan: Any) -> Dataset:
    dataset = phantom(**({"bits_stored": 8} | plan))
    grey = dataset.PixelData[: dataset.Rows * dataset.Columns]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.PixelData = np.repeat(np.frombuffer(grey, np.uint8), 3).tobytes()
    return dataset


def multi_frame(frames: int = 3, **plan: Any) -> Dataset:
    dataset = phantom(**plan)
    dataset.NumberOfFrames = frames
    dataset.PixelData = dataset.PixelData * frames
    return dataset


def huge_declared(rows: int = 65535, columns: int = 65535, frames: int | None = 1000, **plan: Any) -> Dataset:
    """A few bytes of code stream that declare terabytes."""
    dataset = phantom(**({"syntax": uid.RLELossless} | plan))
    dataset.Rows, dataset.Columns = rows, columns
    if frames is not None:
        dataset.NumberOfFrames = frames
    return dataset


def unknown_character_set_file(**plan: Any) -> bytes:
    """Names a character set that does not exist, and a name that needs it."""
    content = to_bytes(phantom(**plan))
    return content.replace(b"ISO_IR 192", b"ISO_IR 999").replace(b"Phantom^", b"Ph\xe4ntom^")


def for_processing(**plan: Any) -> Dataset:
    dataset = phantom(**plan)
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForProcessing
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.PresentationIntentType = "FOR PROCESSING"
    return dataset


def structured_report(seed: str | None = None) -> Dataset:
    """An object that is no image, as a PACS forwards with a whole study."""
    dataset = phantom(seed)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"):
        del dataset[keyword]
    dataset.SOPClassUID = uid.BasicTextSRStorage
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.Modality = "SR"
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ContentSequence = []
    return dataset


def bad_uid_file(value: str = "1.2/../../etc", **plan: Any) -> bytes:
    """SOP Instance UID of data set and file meta that no UID may look like; lengths stay right."""
    dataset = phantom(**plan)
    old = str(dataset.SOPInstanceUID).encode()
    return to_bytes(dataset).replace(old, value.encode().ljust(len(old), b"\0"))


def same_uids(dataset: Dataset, other: Dataset) -> Dataset:
    """Let a data set be of the other's instance and study; returns it."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    dataset.StudyInstanceUID = other.StudyInstanceUID
    return dataset
