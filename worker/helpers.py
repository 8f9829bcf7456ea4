"""The helper processes of one worker: start, ask with a deadline, replace.

A helper is an ordinary program started anew (never forked from a process that
may have loaded TensorFlow, finding 10), spoken to in JSON (never pickle: its
answers come from a process that parsed a stranger's file).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError

from core import logging
from core.errors import TransientFailure
from core.settings import Settings
from imaging.reading import Attributes
from imaging.reasons import Rejection
from worker.decode_process import DEFAULT_READER
from worker.decode_protocol import ANSWERS, MAXIMUM_LINE, READY, REQUESTS, Answer, Ask, Limits, Request
from worker.metrics.figures import Cause, Figures

log = logging.get(__name__)

_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# The arrays of one image are the next one's: memory given back to the system comes back a page fault at a time, which
# took a fifth of the processor time of an image. mallopt(3); 32 MiB is the most it takes for the first.
_KEEP_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
_NO_START: Final = "helper processes do not start; look at the memory and the processes of this host"
_STUCK: Final = "a helper process cannot be ended, as one that waits for a disk; look at the disks of this host"
# between the end of a helper's output and its own
_END_SECONDS: Final = 1.0
# between SIGKILL and the end: only who waits within the kernel, for a disk or a file server, takes longer
_KILL_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.005
_ROOT: Final = Path(__file__).resolve().parents[1]


def helper_environment() -> dict[str, str]:
    """Return what a helper process is started with: none of our settings, and no secrets."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return environment | dict.fromkeys(_ONE_THREAD, "1") | _KEEP_MEMORY | {"PYTHONPATH": str(_ROOT)}


class HelperFailed(TransientFailure):
    """A helper crashed, hung or ran out of memory; the image has spent an attempt.

    `attributes` are those of its header, if the helper came so far.
    """

    def __init__(self, reason: Rejection, detail: str, attributes: Attributes | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.attributes = attributes


class Helper:
    """One decode process. Not for two threads at once.

    It dies with the thread that started it (the kernel's parent-death signal
    is tied to threads), so each lane of the worker starts its own.
    """

    def __init__(self, limits: Limits, reader: str = DEFAULT_READER, figures: Figures | None = None) -> None:
        self._limits = limits
        self._reader = reader
        self._figures = figures or Figures()
        self._cause: Cause | Rejection = Cause.FIRST
        self._process: subprocess.Popen[bytes] | None = None
        # killed, and not ended yet
        self._stuck: list[subprocess.Popen[bytes]] = []
        self._images = 0
        self._unread = b""

    @classmethod
    def from_settings(cls, settings: Settings, reader: str = DEFAULT_READER, figures: Figures | None = None) -> Self:
        """Build a helper with the limits that are set; nothing is started yet."""
        limits = Limits(
            seconds=settings.helper_seconds,
            cpu_seconds=settings.helper_cpu_seconds,
            memory_bytes=settings.helper_memory_bytes,
            images=settings.helper_images,
        )
        return cls(limits, reader, figures)

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, unless one runs, and wait until it is ready.

        Raises
        ------
        TransientFailure
            If it cannot be started, ends or takes too long before it is ready, or the one before it cannot be ended:
            this host fails, not an image.
        """
        if self._process is not None and _runs(self._process):
            return
        self.stop()
        self._stuck = [process for process in self._stuck if process.poll() is None]
        if self._stuck:
            raise TransientFailure(_STUCK)
        command = [
            *(sys.executable, "-m", "worker.decode_process"),
            *("--parent", str(os.getpid())),
            *("--memory-bytes", str(self._limits.memory_bytes)),
            *("--cpu-seconds", str(self._limits.cpu_seconds)),
            *("--reader", self._reader),
        ]
        try:
            # a group of its own: what a library starts in there ends with it, and a terminal's Ctrl-C passes it by
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no received text
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=helper_environment(),
                bufsize=0,
                process_group=0,
            )
            self._images = 0
            ready = self._line(time.monotonic() + self._limits.start_seconds) == READY
        except (OSError, HelperFailed) as error:
            raise TransientFailure(_NO_START) from error
        if not ready:
            self.stop()
            raise TransientFailure(_NO_START)
        self._figures.helper_started(self._cause)
        # unless something else becomes of it
        self._cause = Cause.ENDED

    def ask(self, request: Request) -> Answer:
        """Put one question and wait for the answer, at most the wall time an image may take.

        Raises
        ------
        HelperFailed
            CRASHED, TIMED_OUT or OUT_OF_MEMORY; the process is gone, the next question starts another.
        TransientFailure
            If this host fails, not the image.
        """
        self.start()
        deadline = time.monotonic() + self._limits.seconds
        attributes = None
        try:
            self._send(REQUESTS.dump_json(request) + b"\n")
            answer = ANSWERS.validate_json(self._line(deadline))
            if answer.attributes is not None:
                attributes = answer.attributes
                answer = ANSWERS.validate_json(self._line(deadline))
        except HelperFailed as error:
            error.attributes = attributes
            self._cause = error.reason
            raise
        except ValidationError:
            self._cause = Rejection.CRASHED
            nonsense = HelperFailed(Rejection.CRASHED, "a helper process answered nonsense", attributes)
            raise self._stopped(nonsense) from None
        except BaseException:
            self.stop()
            raise
        if answer.refused is not None:
            raise TransientFailure(answer.refused)
        if answer.failed is not None:
            self._cause = answer.failed
            raise self._stopped(HelperFailed(answer.failed, answer.detail, attributes))
        self._images += request.ask is Ask.READ
        if self._images >= self._limits.images or self._unread:
            # worn out, or saying what nobody asked
            self._cause = Rejection.CRASHED if self._unread else Cause.WORN_OUT
            self.stop()
        return answer

    def peek(self, request: Request, seconds: float) -> Attributes | None:
        """Wait for the header alone, at most so many seconds; the process is ended before it can decode much."""
        self.start()
        try:
            self._send(REQUESTS.dump_json(request) + b"\n")
            return ANSWERS.validate_json(self._line(time.monotonic() + seconds)).attributes
        except (HelperFailed, ValidationError):
            return None
        finally:
            self.stop()
            self._cause = Cause.PEEKED

    def kill(self) -> None:
        """Kill the process from another thread; the one that owns the helper notices and collects it."""
        process = self._process
        if process is not None:
            _kill(process)

    def stop(self) -> None:
        """Kill the process, if one runs, and collect it; for the owning thread, or after it ended.

        One that does not end is left for `start` to look for: no lane waits for it.
        """
        process, self._process = self._process, None
        self._unread = b""
        if process is None:
            return
        _kill(process)
        try:
            process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("helper_cannot_be_ended", pid=process.pid)  # noqa: TRY400 - nothing of ours failed
            self._stuck.append(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _stopped(self, failed: HelperFailed) -> TransientFailure:
        """Stop the process that failed so, and return what to raise: not the image's fault if it does not end."""
        self.stop()
        return TransientFailure(_STUCK) if self._stuck else failed

    def _send(self, content: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise HelperFailed(Rejection.CRASHED, "there is no helper process")
        try:
            process.stdin.write(content)
        except BrokenPipeError:
            raise self._ended() from None

    def _line(self, deadline: float) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            raise HelperFailed(Rejection.CRASHED, "there is no helper process")
        descriptor = process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLHUP)
        while b"\n" not in self._unread:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poller.poll(remaining * 1000):
                late = HelperFailed(Rejection.TIMED_OUT, f"decoding took longer than {self._limits.seconds:g} s")
                raise self._stopped(late)
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise self._ended()
            self._unread += part
            if len(self._unread) > MAXIMUM_LINE:
                raise self._stopped(HelperFailed(Rejection.CRASHED, "a helper process answered without end"))
        line, end, self._unread = self._unread.partition(b"\n")
        return line + end

    def _ended(self) -> TransientFailure:
        """Say how the process ended."""
        process = self._process
        deadline = time.monotonic() + _END_SECONDS
        # left uncollected until its group is killed: till then the number of the group is nobody else's
        while process is not None and _runs(process):
            if time.monotonic() > deadline:
                silent = HelperFailed(Rejection.CRASHED, "the helper process closed its output and did not end")
                return self._stopped(silent)
            time.sleep(_LOOK_SECONDS)
        self.stop()
        code = None if process is None else process.returncode
        if code is not None and code < 0:
            if -code == signal.SIGXCPU:
                return HelperFailed(
                    Rejection.TIMED_OUT, f"decoding used more than {self._limits.cpu_seconds} s of processor"
                )
            return HelperFailed(Rejection.CRASHED, f"the helper process was ended by {_name(-code)}")
        return HelperFailed(Rejection.CRASHED, f"the helper process ended with status {code}")


def _name(number: int) -> str:
    """Name a signal; those for programs' own use have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _runs(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has not ended; does not collect it."""
    return process.returncode is None and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that nobody collected yet, and all that it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Helpers:
    """The helpers of one worker, one for each thread that asks."""

    def __init__(self, settings: Settings, reader: str = DEFAULT_READER, figures: Figures | None = None) -> None:
        self._settings = settings
        self._reader = reader
        self._figures = figures or Figures()
        self._mine = threading.local()
        self._all: list[Helper] = []
        self._closing = False
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Start this thread's helper now, before its first image."""
        try:
            self._own().start()
        except TransientFailure as error:
            # the first image will try again
            log.error("helper_not_started", detail=str(error))  # noqa: TRY400

    def ask(self, request: Request) -> Answer:
        """Put a question to this thread's helper; see `Helper.ask`."""
        if self._closing:
            raise HelperFailed(Rejection.CRASHED, "the worker is stopping")
        return self._own().ask(request)

    def peek(self, request: Request, seconds: float) -> Attributes | None:
        """Wait for a header alone; see `Helper.peek`."""
        return None if self._closing else self._own().peek(request, seconds)

    def kill(self) -> None:
        """Kill every helper and answer no more questions; from any thread."""
        self._closing = True
        with self._lock:
            for helper in self._all:
                helper.kill()

    def close(self) -> None:
        """Collect every helper; after the threads that own them ended."""
        with self._lock:
            for helper in self._all:
                helper.stop()
            self._all.clear()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        with self._lock:
            return [pid for helper in self._all if (pid := helper.pid) is not None]

    def _own(self) -> Helper:
        helper: Helper | None = getattr(self._mine, "helper", None)
        if helper is None:
            helper = Helper.from_settings(self._settings, self._reader, self._figures)
            self._mine.helper = helper
            with self._lock:
                self._all.append(helper)
        return helper
