"""Keep the start-up talk of native libraries off the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, Final

_STDERR: Final = 2
_DELEGATE: Final = b"INFO: Created TensorFlow Lite"
# held for good from the first use on
_first_interpreter = threading.Lock()


@contextmanager
def hush_litert() -> Iterator[None]:
    """Leave out what LiteRT says when the first interpreter of a process allocates its tensors.

    It says so once a process, no setting silences it, and its severity is no
    exported symbol. So standard error is held back, only around the first
    allocation, some milliseconds; later ones pass untouched.
    """
    if _first_interpreter.acquire(blocking=False):
        with without_lines(_DELEGATE):
            yield
    else:
        yield


@contextmanager
def without_lines(beginning: bytes) -> Iterator[None]:
    """Hold back what this process writes to file descriptor 2, and pass it on afterwards less some lines.

    The descriptor belongs to the whole process. What other threads write
    meanwhile comes a little later, whole and in order. A child started
    meanwhile keeps the held-back file as its standard error, and what it says
    there is lost: keep the block short. Not for two threads at once. A process
    that dies within says nothing. Where standard error is closed or no file can
    be made, nothing is held back.

    Parameters
    ----------
    beginning : bytes
        Lines that begin so are left out.
    """
    with ExitStack() as stack:
        try:
            kept = os.dup(_STDERR)
            stack.callback(os.close, kept)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:
            yield
            return
        _flush()
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, _STDERR)
            _pass_on(held, beginning)


def _flush() -> None:
    # ValueError: closed; standard error that cannot be written is no reason to fail
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()


def _pass_on(held: BinaryIO, beginning: bytes) -> None:
    held.seek(0)
    rest = memoryview(b"".join(line for line in held if not line.startswith(beginning)))
    with suppress(OSError):
        while rest:
            rest = rest[os.write(_STDERR, rest) :]
