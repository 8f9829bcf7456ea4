"""DICOM over TLS by the BCP 195 profile (PS3.15 B.12), on the server's side.

The handshake is done where the association is served, never where connections
are accepted, so that a peer that stalls in it stops nobody else.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from core.clock import Clock, SystemClock
from core.errors import Misconfigured
from core.logging import get
from core.rarely import Rarely
from core.settings import Settings
from dicom_listener.upper_layer.stream import TooSlow, Woken

if TYPE_CHECKING:
    from dicom_listener.upper_layer.tls_files import Loaded, Stamp, TlsFiles

# how long a set that was wrong is left alone if none of its files changes
_RETRY_SECONDS: Final = 60.0
# after a handshake that failed: how long, and for how much, the peer may take to read why
_ALERT_SECONDS: Final = 1.0
_ALERT_BYTES: Final = 64 << 10
_WARN_BEFORE: Final = timedelta(days=14)

_log = get(__name__)


class Tls:
    """Takes handshakes with the certificates that lie on disk just now. Safe for threads, and to be forked with.

    Parameters
    ----------
    files : TlsFiles
    clock : Clock

    Raises
    ------
    Misconfigured
        If the files are wrong at start.
    """

    def __init__(self, files: TlsFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._minutely = Rarely(60.0, clock.monotonic)
        self._daily = Rarely(86_400.0, clock.monotonic)
        self._lock = threading.Lock()
        self._tried: Stamp = files.stamp()
        self._tried_at = clock.monotonic()
        self._wrong = False
        self._loaded: Loaded = files.load()
        self._warn_of_age()

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock | None = None) -> Self | None:
        """Return what the settings ask for, or None if they name no TLS port.

        Raises
        ------
        Misconfigured
            Naming the file that is missing, unreadable or does not fit.
        """
        if settings.tls_port is None:
            return None
        if settings.tls_certificate_file is None or settings.tls_key_file is None:
            raise Misconfigured("LUNGWATCH_TLS_PORT needs LUNGWATCH_TLS_CERTIFICATE_FILE and LUNGWATCH_TLS_KEY_FILE")
        from dicom_listener.upper_layer.tls_files import TlsFiles  # noqa: PLC0415 - see there

        files = TlsFiles(settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file)
        return cls(files, clock or SystemClock())

    def refresh(self) -> None:
        """Take the files again if one of them changed; a wrong new set leaves the old one in service.

        Every handshake does this. A process that also calls it now and then
        says so early when a renewal went wrong or was forgotten.
        """
        with self._lock:
            stamp, now = self._files.stamp(), self._clock.monotonic()
            if stamp != self._tried or (self._wrong and now - self._tried_at >= _RETRY_SECONDS):
                self._tried, self._tried_at = stamp, now
                self._load()
        self._warn_of_age()

    def _load(self) -> None:
        try:
            self._loaded = self._files.load()
        except Misconfigured as error:
            self._wrong = True
            self._minutely.warning(_log, "tls_files_wrong", message=str(error))
        else:
            self._wrong = False
            _log.info("tls_files_read", expires=self._loaded.expires.isoformat())

    def _warn_of_age(self) -> None:
        expires, now = self._loaded.expires, self._clock.now()
        if now >= expires:
            self._daily.warning(_log, "tls_certificate_expired", expires=expires.isoformat())
        elif now >= expires - _WARN_BEFORE:
            self._daily.warning(_log, "tls_certificate_expires_soon", expires=expires.isoformat())

    def handshake(
        self,
        connection: socket.socket,
        seconds: float,
        bell: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> ssl.SSLSocket:
        """Do the server's side of a handshake, all of it before one deadline.

        Parameters
        ----------
        connection : socket.socket
            Connected. Its descriptor goes over to the socket returned, or is closed if there is none.
        seconds : float
            For the whole handshake, however many bytes come meanwhile.
        bell : int or None
            A descriptor that becomes readable, and stays so, when a handshake is to end early.
        monotonic : callable
            The clock of the deadline.

        Returns
        -------
        ssl.SSLSocket
            Not blocking. One record is decrypted at a time, so bytes may be ready that no poll of the descriptor shows:
            read until it would block, then poll. For the thread that uses it alone.

        Raises
        ------
        TooSlow, Woken
            At the deadline, at the bell.
        OSError
            ssl.SSLError where the two do not agree or a certificate is not accepted, or what the connection broke with.
            `reason` puts all of them into words.
        """
        deadline = monotonic() + seconds
        self.refresh()
        connection.setblocking(False)  # noqa: FBT003 - the socket's own word
        try:
            # of a connection that was reset by now, wrapping would leave the descriptor to the garbage collector
            connection.getpeername()
            secured = self._loaded.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException:
            connection.close()
            raise
        try:
            _shake(secured, deadline, bell, monotonic)
        except ssl.SSLError:
            _part(secured, min(deadline, monotonic() + _ALERT_SECONDS), monotonic)
            raise
        except BaseException:
            secured.close()
            raise
        return secured


def _shake(secured: ssl.SSLSocket, deadline: float, bell: int | None, monotonic: Callable[[], float]) -> None:
    poll = select.poll()
    poll.register(secured, 0)
    if bell is not None:
        poll.register(bell, select.POLLIN)
    while True:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            wanted = select.POLLIN
        except ssl.SSLWantWriteError:
            wanted = select.POLLOUT
        else:
            return
        poll.modify(secured, wanted)
        remaining = deadline - monotonic()
        ready = poll.poll(remaining * 1000) if remaining > 0 else []
        if not ready:
            raise TooSlow
        if any(descriptor == bell for descriptor, _ in ready):
            raise Woken


def _part(secured: ssl.SSLSocket, deadline: float, monotonic: Callable[[], float]) -> None:
    """Close, but let the peer read the alert first: with bytes unread a close would reset the connection.

    Over TLS 1.3 a client learns only here that its certificate was not
    accepted, when it has already sent its A-ASSOCIATE-RQ.
    """
    left = _ALERT_BYTES
    poll = select.poll()
    poll.register(secured, select.POLLIN)
    with secured, contextlib.suppress(OSError):
        # below the TLS layer, whose own methods end with the handshake
        socket.socket.shutdown(secured, socket.SHUT_WR)
        while left > 0 and poll.poll(max(deadline - monotonic(), 0) * 1000):
            thrown_away = len(socket.socket.recv(secured, left))
            left = left - thrown_away if thrown_away else 0


def client_certificate_digest(connection: socket.socket) -> str | None:
    """Return the SHA-256 of the client's certificate (DER) in lower-case hexadecimal.

    None on a connection without TLS, or where no client certificate is asked
    for. One that is returned was verified in the handshake.
    """
    certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return hashlib.sha256(certificate).hexdigest() if certificate else None


def reason(error: OSError | TooSlow | Woken) -> str:
    """Say why a handshake failed, in OpenSSL's constant words; nothing a peer sent is in them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    match error:
        case TooSlow():
            return "timed out"
        case Woken():
            return "we are stopping"
        case _:
            return "connection lost"
