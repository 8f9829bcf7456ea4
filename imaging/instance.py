"""The one pass over a received file: header, scope, budget, decode, rendering, master. What a decode helper runs."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from core.errors import RejectedInput, TransientFailure
from imaging.develop import develop, timed
from imaging.header import attributes, read_header
from imaging.master import quality, save_master
from imaging.reading import Attributes, MasterReference, Reading
from imaging.reasons import Rejection
from imaging.scope import ScopeDecision, ScopeRules, decide_scope
from imaging.view import read_view

# far above what the listener takes (maximum_message_size); a larger file is not even mapped
MAXIMUM_FILE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """What a reading is held against.

    Attributes
    ----------
    scope : ScopeRules or None
        Which images are in scope; None reads pixels whatever they show, to compare them with others.
    maximum_decoded_bytes : int
        The header budget, bytes of stored values.
    keep_patient_name : bool
        Whether `Attributes.patient_name` is filled.
    every_pixel : bool
        Decode all of an image, also where its master needs less: for `MasterReference.pixels_digest`.
    """

    scope: ScopeRules | None
    maximum_decoded_bytes: int
    keep_patient_name: bool = False
    every_pixel: bool = False


def read_instance(
    path: Path, masters: Path, rules: ReadingRules, tell: Callable[[Attributes], None] | None = None
) -> Reading:
    """Read one Part 10 file and keep its master.

    Any bytes give a typed answer: what is wrong with them is in the
    `Reading`, never an exception. Reading again is safe and gives the same.

    Parameters
    ----------
    path : Path
        The file.
    masters : Path
        The masters directory.
    rules : ReadingRules
        From settings and the bundle's manifest.
    tell : callable, optional
        Given the attributes as soon as the header is read: decoding may not come back.

    Raises
    ------
    TransientFailure
        If a disk fails, in reading or in writing, or the file's whole directory is not there.
    MemoryError
        If the process's limit is hit; the caller charges the attempt.
    """
    seconds: dict[str, float] = {}
    reading = Reading(attributes=None, seconds=seconds)
    try:
        with _mapped(path) as content:
            with timed(seconds, "header"):
                header = read_header(content)
                view = read_view(header.dataset).word
                known = attributes(header, view, keep_patient_name=rules.keep_patient_name)
                reading = replace(reading, attributes=known)
                if tell is not None:
                    tell(known)
                decision = ScopeDecision(None) if rules.scope is None else decide_scope(header.dataset, rules.scope)
                reading = replace(reading, annotations=decision.annotations)
            if decision.reason is not None:
                return replace(reading, out_of_scope=decision.reason)
            image = develop(header, content, rules.maximum_decoded_bytes, seconds, every_pixel=rules.every_pixel)
            with timed(seconds, "digest"):
                digest = image.pixels_digest
            with timed(seconds, "master"):
                reference = MasterReference(
                    digest=save_master(masters, image.master),
                    pixels_digest=digest,
                    quality=quality(image.master, image.shorter_side),
                )
            return replace(reading, master=reference)
    except RejectedInput as error:
        return replace(reading, rejected=Rejection(error.reason), detail=error.detail)


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """Map a file into memory, so that uncompressed pixels are never copied.

    Nothing may write to the file meanwhile: entries of the spool are never
    changed after their rename.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise TransientFailure("the directory of a received file is not there; is its disk mounted?") from error
        raise RejectedInput(Rejection.MISSING_FILE, "the file is not where the ledger says it is") from error
    except OSError as error:
        raise TransientFailure(f"a received file cannot be opened (errno {error.errno})") from error
    with stream:
        size = stream.seek(0, 2)
        if size == 0:
            raise RejectedInput(Rejection.EMPTY, "the file has no bytes")
        if size > MAXIMUM_FILE_BYTES:
            raise RejectedInput(Rejection.OVER_BUDGET, f"the file is larger than {MAXIMUM_FILE_BYTES} bytes")
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                # the process's own limit, not the disk: the caller charges it
                raise MemoryError from error
            raise TransientFailure(f"a received file cannot be mapped (errno {error.errno})") from error
        # not closed by hand: arrays may still look into it, the last of them closes it
        yield memoryview(mapped)
