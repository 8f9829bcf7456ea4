"""What a worker asks a helper process and what it answers: one JSON object a line, validated on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter

from imaging.instance import ReadingRules
from imaging.reading import Attributes, Reading
from imaging.reasons import Rejection


class Ask(StrEnum):
    """What a helper can do."""

    FINGERPRINT = "FINGERPRINT"
    READ = "READ"


@dataclass(frozen=True, slots=True)
class Request:
    """One question about one file.

    Attributes
    ----------
    ask : Ask
        FINGERPRINT checks the file's digest and takes the data set's; READ is the whole journey
        to the master, and answered twice: by the attributes once the header is read, then by the
        reading. The second line may never come, and the first one only where the header can be read.
    path, masters : str
        Absolute paths.
    sha256 : str
        Of the file, as acknowledged.
    """

    ask: Ask
    path: str
    sha256: str
    masters: str
    rules: ReadingRules


@dataclass(frozen=True, slots=True)
class Answer:
    """Exactly one of the fields is set; `detail` goes with `failed`.

    Attributes
    ----------
    dataset_sha256 : str or None
        To FINGERPRINT; empty where the file has no file meta information.
    reading : Reading or None
        To READ, and to FINGERPRINT where the file is not what was acknowledged.
    attributes : Attributes or None
        To READ, before its reading.
    refused : str or None
        This host fails (a disk that is full, read-only or not mounted), not the image: what a person should look at.
    failed : Rejection or None
        The helper could not answer and ends; `detail` says why, free of data.
    """

    dataset_sha256: str | None = None
    reading: Reading | None = None
    attributes: Attributes | None = None
    refused: str | None = None
    failed: Rejection | None = None
    detail: str = ""


REQUESTS: Final = TypeAdapter(Request)
ANSWERS: Final = TypeAdapter(Answer)
READY: Final = b"ready\n"
# a Reading is a few kilobytes; a helper that says more has gone mad
MAXIMUM_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a helper may use.

    Attributes
    ----------
    seconds : float
        Wall time an image.
    cpu_seconds : int
        Processor time an image.
    memory_bytes : int
        Address space of the process.
    images : int
        Images after which it is replaced.
    start_seconds : float
        Wall time until it is ready.
    """

    seconds: float
    cpu_seconds: int
    memory_bytes: int
    images: int
    start_seconds: float = 60.0
