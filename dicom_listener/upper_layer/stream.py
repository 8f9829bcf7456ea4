"""A connection to a peer, read through one bounded buffer; no wait is without a deadline.

Whoever reads says how long it may take. pynetdicom's own socket waits for as
long as the peer likes once a PDU has begun, and keeps as much of it in memory
as the peer announces.
"""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

# four of the largest PDUs we ask for by default: one read takes what a quick sender has ready
BUFFER_BYTES: Final = 512 * 1024
# of what a peer still sends after the end, how much is read and thrown away so that it sees our last word
_LAST_BYTES: Final = 4 * 1024 * 1024
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Ended(Exception):
    """The peer closed the connection, or it broke."""


class TooSlow(Exception):
    """What was waited for did not come before its deadline."""


class Woken(Exception):
    """The wait was ended by our own side."""


class PeerStream:
    """Reads and writes one connection; used by one thread.

    Parameters
    ----------
    connection : socket.socket
        Connected; over TLS, after its handshake.
    bell : int
        A descriptor that becomes readable, and stays so, when waits of `more`
        are to end early.

    Attributes
    ----------
    due : float or None
        By `time.monotonic`, when the read under way must have ended; None where there is none. For another thread:
        within one read OpenSSL takes in key updates for as long as they come (RFC 8446 4.6.3), and its caller waits.
    """

    def __init__(self, connection: socket.socket, bell: int) -> None:
        self.due: float | None = None
        connection.setblocking(False)  # noqa: FBT003 - the socket's own word
        self._connection = connection
        # a mapping of its own: what an idle peer never fills takes no memory, and the system has it back at the end
        self._memory = mmap.mmap(-1, BUFFER_BYTES)
        self._buffer = memoryview(self._memory)
        self._start = self._end = 0
        self._readable, self._writable, self._idle = select.poll(), select.poll(), select.poll()
        self._readable.register(connection, select.POLLIN)
        self._writable.register(connection, select.POLLOUT)
        self._idle.register(connection, select.POLLIN)
        self._idle.register(bell, select.POLLIN)
        self._bell = bell

    def more(self, deadline: float, *, wakeable: bool) -> None:
        """Wait until at least one byte is there.

        Parameters
        ----------
        deadline : float
            By `time.monotonic`.
        wakeable : bool
            Whether the bell ends the wait.

        Raises
        ------
        Ended, TooSlow, Woken
        """
        if self._start == self._end:
            self._fill(1, deadline, wakeable=wakeable)

    def take(self, count: int, deadline: float) -> bytes:
        """Return exactly `count` bytes, at most `BUFFER_BYTES`.

        Raises
        ------
        Ended, TooSlow
        """
        if self._end - self._start < count:
            self._fill(count, deadline, wakeable=False)
        taken = bytes(self._buffer[self._start : self._start + count])
        self._start += count
        return taken

    def pieces(self, count: int, deadline: float) -> Iterator[memoryview]:
        """Yield `count` bytes in pieces as they come; each is valid until the next is asked for.

        Raises
        ------
        Ended, TooSlow
        """
        while count:
            self.more(deadline, wakeable=False)
            size = min(count, self._end - self._start)
            self._start += size
            count -= size
            yield self._buffer[self._start - size : self._start]

    def glance(self, count: int) -> memoryview | None:
        """Return the next so many bytes if they have been read already, without taking them."""
        return self._buffer[self._start : self._start + count] if self._end - self._start >= count else None

    def peek(self) -> int | None:
        """Return the next byte if it is there already, without taking it."""
        if self._start == self._end:
            # at the very end of the buffer there would be no room for it
            self._make_room(1)
            self.due = time.monotonic()
            with contextlib.suppress(OSError, Ended):
                self._receive()
            self.due = None
        return self._buffer[self._start] if self._start < self._end else None

    def send(self, content: bytes, deadline: float) -> None:
        """Send all of it.

        Raises
        ------
        Ended, TooSlow
        """
        view = memoryview(content)
        while view:
            try:
                view = view[self._connection.send(view) :]
            except ssl.SSLWantReadError:
                self._wait(self._readable, deadline)
            except _WOULD_BLOCK:
                self._wait(self._writable, deadline)
            except OSError:
                raise Ended from None

    def finish(self, deadline: float) -> None:
        """Say that we shall send no more, and wait for the peer to close; what it still sends is thrown away.

        Closing with unread bytes would reset the connection, and the peer
        might never see our last PDU (PS3.8 9.2.2, Sta13).
        """
        self.due = deadline
        if isinstance(self._connection, ssl.SSLSocket):
            # sends close_notify (RFC 8446 6.1), then wants the peer's, which nothing depends on
            with contextlib.suppress(OSError, ValueError):
                self._connection.unwrap()
        left = _LAST_BYTES
        # below the TLS layer: whatever still comes is not for us
        with contextlib.suppress(OSError, TooSlow):
            socket.socket.shutdown(self._connection, socket.SHUT_WR)
            while left > 0:
                self._wait(self._readable, deadline)
                thrown_away = socket.socket.recv_into(self._connection, self._buffer)
                left = left - thrown_away if thrown_away else 0

    def close(self) -> None:
        """Give the descriptor and the buffer back."""
        # associations are cycles of references: their memory would wait for the collector
        self._buffer.release()
        with contextlib.suppress(BufferError):
            self._memory.close()
        with contextlib.suppress(OSError):
            self._connection.close()

    def _fill(self, count: int, deadline: float, *, wakeable: bool) -> None:
        self._make_room(count)
        self.due = deadline
        try:
            while self._end - self._start < count:
                self._fill_further(deadline, wakeable=wakeable)
                # a peer that always has a byte ready must not escape its deadline
                if self._end - self._start < count and time.monotonic() >= deadline:
                    raise TooSlow
        finally:
            self.due = None

    def _fill_further(self, deadline: float, *, wakeable: bool) -> None:
        try:
            self._receive()
        except ssl.SSLWantWriteError:
            # what TLS has to answer of itself; bytes to be read may be there all the while
            self._wait(self._writable, deadline)
        except _WOULD_BLOCK:
            self._acknowledge()
            self._wait(self._idle if wakeable else self._readable, deadline)
        except OSError:
            raise Ended from None

    def _make_room(self, count: int) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + count > BUFFER_BYTES:
            left = self._end - self._start
            self._buffer[:left] = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, left

    def _receive(self) -> None:
        count = self._connection.recv_into(self._buffer[self._end :])
        if count == 0:
            raise Ended
        self._end += count

    def _acknowledge(self) -> None:
        # a sender with Nagle's algorithm waits for this between command and data, 40 ms where we delay it
        with contextlib.suppress(OSError):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _wait(self, poll: select.poll, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TooSlow
        ready = poll.poll(remaining * 1000)
        if not ready:
            raise TooSlow
        if all(descriptor == self._bell for descriptor, _ in ready):
            raise Woken
