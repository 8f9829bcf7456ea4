"""Reading a data set's DICOM files in processes with limits on memory, processor and wall time."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from core.errors import RejectedInput, TransientFailure
from core.settings import Settings
from imaging.instance import ReadingRules
from imaging.master import load_master, master_path
from imaging.reading import Attributes, Reading
from imaging.reasons import Rejection
from imaging.scope import ScopeRules
from training.datasets.decode_instance import ANSWERS, READY, REQUESTS, Request

_SECONDS: Final = 25.0
_CPU_SECONDS: Final = 60
_START_SECONDS: Final = 60.0
_MEMORY_BYTES: Final = 3 << 30
_LONGEST_ANSWER: Final = 1 << 20
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ROOT: Final = Path(__file__).resolve().parents[1]
# a million days: everybody
_ANY_AGE: Final = (0.0, 1e6)


def default_rules() -> ReadingRules:
    """Return the scope rules as shipped, for any age: whom a model is made for is decided by who trains it."""
    return site_rules(Settings.model_construct())


def site_rules(settings: Settings) -> ReadingRules:
    """Return the scope rules with a site's words for a chest and its limits, for any age."""
    scope = replace(ScopeRules.from_settings(settings, _ANY_AGE), withhold_outside_ages=False)
    return ReadingRules(scope, maximum_decoded_bytes=settings.maximum_decoded_bytes)


class Decoders:
    """As many decode processes as threads ask, each started with its first file; close it in the end."""

    def __init__(self, rules: ReadingRules) -> None:
        self._rules = rules
        self._mine = threading.local()
        self._all: list[_Decoder] = []
        self._lock = threading.Lock()

    def header(self, path: Path) -> Attributes:
        """Read a header.

        Raises
        ------
        RejectedInput
            If it is not DICOM, or damaged.
        """
        found = self._ask(Request(str(path), None, self._rules)).attributes
        if found is None:
            raise RejectedInput(Rejection.BAD_HEADER, "the file has no readable header")
        return found

    def image(self, path: Path) -> tuple[Attributes, NDArray[np.uint16]]:
        """Read an image to its master as serving does.

        Raises
        ------
        RejectedInput
            If it cannot be read, is out of scope, or exceeds a limit.
        """
        decoder = self._own()
        reading = _checked(decoder.ask(Request(str(path), str(decoder.masters), self._rules)))
        if reading.out_of_scope is not None:
            raise RejectedInput(reading.out_of_scope, f"the image is out of scope ({reading.out_of_scope.value})")
        if reading.master is None or reading.attributes is None:
            raise RejectedInput(Rejection.CRASHED, "the decoder gave no image")
        master = load_master(decoder.masters, reading.master.digest)
        master_path(decoder.masters, reading.master.digest).unlink()
        return reading.attributes, master

    def close(self) -> None:
        """End every process."""
        with self._lock:
            for decoder in self._all:
                decoder.close()
            self._all.clear()

    def _ask(self, request: Request) -> Reading:
        return _checked(self._own().ask(request))

    def _own(self) -> _Decoder:
        decoder: _Decoder | None = getattr(self._mine, "decoder", None)
        if decoder is None:
            decoder = self._mine.decoder = _Decoder()
            with self._lock:
                self._all.append(decoder)
        return decoder


def _checked(reading: Reading) -> Reading:
    if reading.rejected is not None:
        raise RejectedInput(reading.rejected, reading.detail)
    return reading


class _Decoder:
    """One process, for one thread: the kernel ends it with the thread that started it."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="lungwatch-")
        self.masters = Path(self._scratch.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def ask(self, request: Request) -> Reading:
        """Put a question; whatever becomes of the process is said as a reading that was rejected."""
        process = self._start()
        try:
            _give(process, REQUESTS.dump_json(request) + b"\n")
            return ANSWERS.validate_json(self._line(process, _SECONDS))
        except (BrokenPipeError, EOFError):
            rejected = Reading(None, rejected=Rejection.CRASHED, detail="the decoder crashed on it")
        except TimeoutError:
            rejected = Reading(None, rejected=Rejection.TIMED_OUT, detail=f"decoding it took over {_SECONDS:g} s")
        except ValidationError:
            rejected = Reading(None, rejected=Rejection.CRASHED, detail="the decoder answered nonsense")
        except BaseException:
            self._stop()
            raise
        self._stop()
        return rejected

    def close(self) -> None:
        """End the process and remove its scratch folder."""
        self._stop()
        self._scratch.cleanup()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= dict.fromkeys(_ONE_THREAD, "1") | {"PYTHONPATH": str(_ROOT)}
        command = [
            *(sys.executable, "-m", "training.datasets.decode_instance"),
            *("--parent", str(os.getpid())),
            *("--memory-bytes", str(_MEMORY_BYTES)),
            *("--cpu-seconds", str(_CPU_SECONDS)),
        ]
        try:
            process = self._process = subprocess.Popen(  # noqa: S603 - our own module, no received text
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
            )
            ready = self._line(process, _START_SECONDS) == READY
        except (OSError, EOFError) as error:
            self._stop()
            raise TransientFailure("decode processes do not start; look at this host's memory and processes") from error
        if not ready:
            self._stop()
            raise TransientFailure("a decode process started and did not become ready")
        return process

    def _stop(self) -> None:
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> bytes:
        if process.stdout is None:
            raise EOFError
        deadline = time.monotonic() + seconds
        descriptor = process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLHUP)
        while b"\n" not in self._unread:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poller.poll(remaining * 1000):
                raise TimeoutError
            part = os.read(descriptor, 1 << 16)
            if not part or len(self._unread) > _LONGEST_ANSWER:
                raise EOFError
            self._unread += part
        line, end, self._unread = self._unread.partition(b"\n")
        return line + end


def _give(process: subprocess.Popen[bytes], content: bytes) -> None:
    if process.stdin is None:
        raise EOFError
    process.stdin.write(content)
