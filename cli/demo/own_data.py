"""Files of the user's own as studies: DICOM objects as they are, pictures wrapped as DX objects."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError
from pydicom import dcmread, uid
from pydicom.errors import InvalidDicomError

from cli.demo.sending import Sending
from cli.demo.studies import thumbnail
from core.errors import Misconfigured, RejectedInput
from imaging.phantom.pictures import stored_values
from imaging.phantom_objects import SOP_CLASSES, Modality, Patient, PhantomObject, Uids, build, to_bytes

_PICTURES: Final = frozenset({".jpeg", ".jpg", ".png"})
_MAGIC: Final = slice(128, 132)
# lossless all, so that a wrapped picture's result is that of `lungwatch predict` on the picture
SYNTAXES: Final = (
    uid.ExplicitVRLittleEndian,
    uid.JPEGLosslessSV1,
    uid.JPEG2000Lossless,
    uid.RLELossless,
    uid.JPEGLSLossless,
    uid.ImplicitVRLittleEndian,
)


@dataclass(frozen=True, slots=True)
class Source:
    """One file, wherever it lies."""

    name: str
    read: Callable[[], bytes]


def find(paths: list[Path], limit: int) -> list[Source]:
    """List the files below the paths, evenly thinned to the limit so that every folder is represented.

    Raises
    ------
    Misconfigured
        If a path does not exist or nothing usable is found.
    """
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
            found += [Source(str(file.relative_to(path)), file.read_bytes) for file in files]
        elif path.is_file() and zipfile.is_zipfile(path):
            found += _members(path)
        elif path.is_file():
            found.append(Source(path.name, path.read_bytes))
        else:
            message = f"there is no file or folder {path}; --data takes DICOM files, pictures, folders or a zip of them"
            raise Misconfigured(message)
    if not found:
        message = "nothing found to send; --data takes DICOM files, JPEG or PNG pictures, folders or a zip of them"
        raise Misconfigured(message)
    step = max(1.0, len(found) / limit)
    return [found[int(index * step)] for index in range(min(limit, len(found)))]


def _members(archive: Path) -> list[Source]:
    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with zipfile.ZipFile(archive) as opened:
                return opened.read(name)

        return read

    with zipfile.ZipFile(archive) as opened:
        names = sorted(info.filename for info in opened.infolist() if not info.is_dir())
    names = [name for name in names if not Path(name).name.startswith((".", "__"))]
    return [Source(name, reader(name)) for name in names if "__MACOSX" not in name]


def own_sendings(sources: list[Source], folder: Path, seed: str) -> Iterator[Sending]:
    """Prepare the files one by one; what is neither DICOM nor a picture is refused by name.

    Raises
    ------
    RejectedInput
        Naming the file that cannot be sent.
    """
    uids = Uids(seed)
    syntaxes = cycle(SYNTAXES)
    for number, source in enumerate(sources, 1):
        content = source.read()
        path = folder / f"{number:05d}.dcm"
        title = "/".join(Path(source.name).parts[-2:])
        if content[_MAGIC] == b"DICM":
            yield _as_it_is(content, path, title)
        elif Path(source.name).suffix.lower() in _PICTURES:
            yield wrapped(content, path, title, uids, next(syntaxes), number)
        else:
            raise RejectedInput("NOT_DICOM", f"{title} is neither a DICOM file nor a JPEG or PNG picture")


def wrapped(content: bytes, path: Path, title: str, uids: Uids, syntax: uid.UID, number: int) -> Sending:  # noqa: PLR0917
    """Wrap a picture as a DX object of 12 bits, age unknown, chest from the front, and write it.

    Raises
    ------
    RejectedInput
        If it is no picture Pillow can read.
    """
    try:
        values = stored_values(content)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise RejectedInput("DECODE_FAILED", f"{title} is no picture that can be read") from None
    plan = PhantomObject(
        picture=values,
        study_uid=uids.new(),
        series_uid=uids.new(),
        sop_instance_uid=uids.new(),
        syntax=syntax,
        patient=Patient(name="Wrapped^Picture", patient_id=f"PICTURE-{number}", age=None),
        accession_number=f"PICTURE-{number}",
        derivation="Picture of 8 bits wrapped as 12",
    )
    path.write_bytes(to_bytes(build(plan)))
    return Sending(
        title=title,
        path=path,
        study_uid=plan.study_uid,
        sop_class_uid=SOP_CLASSES[Modality.DX],
        sop_instance_uid=plan.sop_instance_uid,
        transfer_syntax_uid=syntax,
        thumbnail=thumbnail(values),
    )


def _as_it_is(content: bytes, path: Path, title: str) -> Sending:
    try:
        dataset = dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        meta = dataset.file_meta
        identity = (
            str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)
        )  # fmt: skip
    except (InvalidDicomError, AttributeError, ValueError, EOFError):
        raise RejectedInput("BAD_HEADER", f"the file meta information of {title} cannot be read") from None
    path.write_bytes(content)
    return Sending(title, path, str(dataset.get("StudyInstanceUID", "")), *identity)
