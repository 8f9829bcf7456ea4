"""A TCP relay between a host and a server: cut, it swallows nothing and passes nothing on, until it is mended.

What was under way when it was cut arrives late, which is the worst that a
network can do to whoever believes in leases.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self

_HOST: Final = "127.0.0.1"
_PIECE: Final = 1 << 16


class Relay:
    """Passes connections on to a port of this machine; a context manager.

    Attributes
    ----------
    port : int
        Where it listens.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server((_HOST, 0))
        self.port = int(self._listening.getsockname()[1])

    def cut(self) -> None:
        """Pass nothing on from now."""
        self._open.clear()

    def mend(self) -> None:
        """Pass on what has waited, and all that follows."""
        self._open.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listening.close()
        self.mend()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._open.wait()
        with near, contextlib.suppress(OSError), socket.create_connection((_HOST, self._to)) as far:
            self._sockets += [near, far]
            back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
            back.start()
            self._pass_on(near, far)
            back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                self._open.wait()
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
