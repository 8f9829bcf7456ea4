"""A process that reads DICOM files of a data set, so that the one that trains never parses them.

Started as ``python -m training.datasets.decode_instance``, a request a line on standard
input, an answer a line on what was standard output. The reading is serving's
own, `imaging.instance.read_instance`. It may crash, hang or be killed at any
moment, and costs its parent one file.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from core.errors import LungwatchError, RejectedInput
from core.parent_death import die_with
from imaging.header import attributes, read_header
from imaging.instance import ReadingRules, read_instance
from imaging.reading import Reading
from imaging.reasons import Rejection
from imaging.view import read_view


@dataclass(frozen=True, slots=True)
class Request:
    """One file to read; `masters` is None where its header is enough."""

    path: str
    masters: str | None
    rules: ReadingRules


REQUESTS: Final = TypeAdapter(Request)
ANSWERS: Final = TypeAdapter(Reading)
READY: Final = b"ready\n"


def main() -> int:
    """Answer requests until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-seconds", type=int, required=True)
    arguments = parser.parse_args()
    # a decoder that hangs never sees its input end
    if not die_with(arguments.parent):
        return 1
    answers = os.dup(1)
    # what libraries print must not be taken for an answer
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (arguments.memory_bytes, arguments.memory_bytes))
    # a terminal's Ctrl-C reaches the whole group; the parent decides when we end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(answers, "wb") as stream:
        stream.write(READY)
        stream.flush()
        for line in sys.stdin.buffer:
            _allow_cpu(arguments.cpu_seconds)
            stream.write(ANSWERS.dump_json(_answer(REQUESTS.validate_json(line))) + b"\n")
            stream.flush()
    return 0


def _answer(request: Request) -> Reading:
    try:
        if request.masters is None:
            header = read_header(Path(request.path).read_bytes())
            view = read_view(header.dataset).word
            return Reading(attributes=attributes(header, view, keep_patient_name=False))
        return read_instance(Path(request.path), Path(request.masters), request.rules)
    except RejectedInput as error:
        return Reading(attributes=None, rejected=Rejection(error.reason), detail=error.detail)
    except MemoryError:
        detail = "decoding it needs more memory than a decoder may use"
        return Reading(attributes=None, rejected=Rejection.OUT_OF_MEMORY, detail=detail)
    except Exception as error:  # noqa: BLE001 - the edge of a process: everything becomes an answer
        detail = str(error) if isinstance(error, LungwatchError) else f"decoding it ended in {type(error).__name__}"
        return Reading(attributes=None, rejected=Rejection.CRASHED, detail=detail)


def _allow_cpu(seconds: int) -> None:
    """Give the next file its processor time; the kernel ends us beyond it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(usage.ru_utime + usage.ru_stime) + seconds, hard))


if __name__ == "__main__":
    sys.exit(main())
