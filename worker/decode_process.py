"""A helper process: parses and decodes what strangers sent, so that the worker never does.

Started as ``python -m worker.decode_process``, with requests on standard
input and answers on what was standard output. It holds no secrets, no
database and no TensorFlow; it may crash, hang or be killed at any moment, and
costs its parent one attempt of one image.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from core.errors import LungwatchError, RejectedInput, TransientFailure
from core.logging import safe_error
from core.parent_death import die_with
from imaging.reading import Attributes, Reading
from imaging.reasons import Rejection
from worker.decode_protocol import ANSWERS, READY, REQUESTS, Answer, Ask, Request
from worker.fingerprint import fingerprint

DEFAULT_READER: Final = "imaging.instance:read_instance"


def main() -> int:
    """Answer requests until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-seconds", type=int, required=True)
    parser.add_argument("--reader", default=DEFAULT_READER)
    arguments = parser.parse_args()
    # a decoder that hangs never sees its input end
    if not die_with(arguments.parent):
        return 1
    answers = _private_output()
    _offer_ourselves()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (arguments.memory_bytes, arguments.memory_bytes))
    module, _, function = arguments.reader.partition(":")
    reader = getattr(importlib.import_module(module), function)
    os.write(answers, READY)
    for line in sys.stdin.buffer:
        _allow_cpu(arguments.cpu_seconds)
        answer = _answer(line, reader, answers)
        _say(answers, answer)
        if answer.failed is not None:
            # memory may be fragmented or state half changed: a fresh process is worth its second
            return 1
    return 0


def _answer(line: bytes, reader: Callable[..., Reading], answers: int) -> Answer:
    try:
        request = REQUESTS.validate_json(line)
        return _perform(request, reader, answers)
    except RejectedInput as error:
        return Answer(reading=Reading(attributes=None, rejected=Rejection(error.reason), detail=error.detail))
    except TransientFailure as error:
        return Answer(refused=str(error))
    except (MemoryError, RecursionError):
        # numpy's own memory error is one too (finding 6)
        return Answer(failed=Rejection.OUT_OF_MEMORY, detail="decoding needs more memory than a helper may use")
    except Exception as error:  # noqa: BLE001 - the edge of a process: everything becomes an answer
        described = safe_error(error)
        # the worker stores this: our own words, or a type and a place, never a library's text
        detail = described.get("message") if isinstance(error, LungwatchError) else None
        return Answer(failed=Rejection.CRASHED, detail=detail or f"{described['error']} at {described.get('at', '?')}")


def _perform(request: Request, reader: Callable[..., Reading], answers: int) -> Answer:
    path = Path(request.path)
    match request.ask:
        case Ask.FINGERPRINT:
            return Answer(dataset_sha256=fingerprint(path, request.sha256).dataset_sha256 or "")
        case Ask.READ:

            def tell(attributes: Attributes) -> None:
                # should decoding end this process, the worker still knows what the image was
                _say(answers, Answer(attributes=attributes))

            return Answer(reading=reader(path, Path(request.masters), request.rules, tell))


def _private_output() -> int:
    """Keep standard output for answers and send what libraries print to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _offer_ourselves() -> None:
    """Let the kernel take this process first where the host's memory runs out: it costs one image a start."""
    with suppress(OSError):
        # proc(5); raising it needs no privilege
        Path("/proc/self/oom_score_adj").write_text("1000")


def _allow_cpu(seconds: int) -> None:
    """Give the next image its processor time; the kernel ends us with SIGXCPU beyond it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))


def _say(descriptor: int, answer: Answer) -> None:
    content = ANSWERS.dump_json(answer) + b"\n"
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    sys.exit(main())
