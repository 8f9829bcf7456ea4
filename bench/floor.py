"""The floor: what any receiver must at least do, and nothing else.

A connection is served by a process of its own. Eight bytes say how many
follow; they are copied to a file, which is fsynced and renamed, its directory
is fsynced, and one zero byte answers.

``python -m bench.floor PORT FOLDER``
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from pathlib import Path
from types import FrameType
from typing import Final

_COPY_BYTES: Final = 256 * 1024
_BACKLOG: Final = 128
_SIZE: Final = struct.Struct(">Q")


def receive(connection: socket.socket, folder: Path) -> None:
    """Serve one connection until it is closed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(_COPY_BYTES))
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    number = 0
    while header := connection.recv(_SIZE.size, socket.MSG_WAITALL):
        name = folder / f"{os.getpid()}-{number}.dcm"
        temporary = name.with_suffix(".part")
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        _copy(connection, file, _SIZE.unpack(header)[0], buffer)
        os.fsync(file)
        os.close(file)
        temporary.rename(name)
        os.fsync(directory)
        connection.sendall(b"\0")
        number += 1


def _copy(connection: socket.socket, file: int, size: int, buffer: memoryview) -> None:
    left = size
    while left:
        count = connection.recv_into(buffer, min(left, len(buffer)))
        if not count:
            raise EOFError
        written = 0
        while written < count:
            written += os.write(file, buffer[written:count])
        left -= count


def _reap(_signal: int, _frame: FrameType | None) -> None:
    # reaped children's processor time is added to ours
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main(port: int, folder: Path) -> None:
    """Accept until killed."""
    signal.signal(signal.SIGCHLD, _reap)
    with socket.create_server(("127.0.0.1", port), backlog=_BACKLOG) as listening:
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    receive(connection, folder)
                finally:
                    os._exit(0)
            connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
