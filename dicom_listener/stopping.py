"""Being told to stop by a signal, safely.

A handler that sets an event runs inside whatever the main thread is doing,
perhaps inside that event's own lock, and hangs. Blocking the signals and
waiting for them in a thread fails too: libraries (OpenBLAS) have started
threads before us that do not block them. So the interpreter writes the signal
into a socket, and a thread reads from it.
"""

from __future__ import annotations

import signal
import socket
import threading
from typing import Final

STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def stop_requested() -> threading.Event:
    """Return an event that is set on SIGTERM or SIGINT; to be called in the main thread, once a process."""
    requested = threading.Event()
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # noqa: FBT003 - as set_wakeup_fd demands
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    for number in STOP_SIGNALS:
        # without a handler of Python's own nothing would be written
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        # keeps `writing` alive with the closure
        while writing.fileno() >= 0 and reading.recv(1)[0] not in STOP_SIGNALS:
            pass
        requested.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return requested
