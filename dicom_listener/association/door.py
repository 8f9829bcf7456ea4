"""The accept loop of one association process, and the room where connections wait until they ask.

Whoever connects gets a thread and a short time to ask for an association. The
room is small. When it is full the connection that has waited longest is cut,
one from an address no known peer has before any other: who means it asks at
once, so a flood of silent connections costs the silent ones and nobody else.
"""

from __future__ import annotations

import errno
import gc
import ipaddress
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.logging import get, safe_error
from core.peers import Address, Peers
from core.rarely import Rarely
from dicom_listener.association.acceptor import Acceptor
from dicom_listener.association.association import AcceptorAssociation
from dicom_listener.metrics.counting import Outcome
from dicom_listener.upper_layer.tls import Tls

MOST_WAITING: Final = 32
# connections that have been cut but whose threads have not ended yet; beyond this a new one is closed unheard
_MOST_ENDING: Final = 64
_OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_BREATH_SECONDS: Final = 0.05

_log = get(__name__)
_rarely = Rarely(60.0)


@dataclass(frozen=True, slots=True)
class Entrance:
    """A listening socket, shared with the other processes, and whether TLS is spoken there."""

    listening: socket.socket
    tls: Tls | None


class Door:
    """Accepts connections until told to close.

    Parameters
    ----------
    entrances : list of Entrance
    acceptor : Acceptor
    peers : callable
        Returns who is known at the moment.
    maximum_associations : int
        Over all processes; bounds the threads of this one.
    """

    def __init__(
        self, entrances: list[Entrance], acceptor: Acceptor, peers: Callable[[], Peers], maximum_associations: int
    ) -> None:
        self._entrances = {entrance.listening.fileno(): entrance for entrance in entrances}
        self._acceptor = acceptor
        self._peers = peers
        self._most_living = maximum_associations + MOST_WAITING + _MOST_ENDING
        self._lock = threading.Lock()
        # in order of arrival
        self._waiting: dict[AcceptorAssociation, None] = {}
        self._living: dict[AcceptorAssociation, None] = {}

    def run(self) -> None:
        """Accept until the drain begins, then close the entrances."""
        poll = select.poll()
        bell = self._acceptor.drain.bell.fileno()
        for descriptor in (*self._entrances, bell):
            poll.register(descriptor, select.POLLIN)
        while self._acceptor.drain.began is None:
            for descriptor, _ in poll.poll():
                if descriptor != bell:
                    self._accept(self._entrances[descriptor])
        for entrance in self._entrances.values():
            entrance.listening.close()

    @property
    def living(self) -> list[AcceptorAssociation]:
        """Return all associations and connections that have not ended."""
        with self._lock:
            return list(self._living)

    def cut_late(self) -> None:
        """Cut whoever is past a deadline that its own thread cannot notice; for another thread, now and then."""
        now = time.monotonic()
        for association in self.living:
            if association.is_late(now):
                _rarely.warning(_log, "connection_late", address=str(association.address))
                association.cut()

    def _accept(self, entrance: Entrance) -> None:
        try:
            connection, came_from = entrance.listening.accept()
        except OSError as error:
            # another process was quicker, or the peer has gone again
            if error.errno in _OUT_OF_DESCRIPTORS:
                _rarely.warning(_log, "connection_not_accepted", **safe_error(error))
                time.sleep(_BREATH_SECONDS)
            return
        try:
            self._welcome(connection, _address(came_from[0]), entrance.tls)
        except Exception as error:  # noqa: BLE001 - the edge: one connection must not end the loop
            _rarely.warning(_log, "connection_failed", **safe_error(error))
            connection.close()

    def _welcome(self, connection: socket.socket, address: Address, tls: Tls | None) -> None:
        self._make_room()
        if len(self._living) >= self._most_living and not self._hurry_one():
            _rarely.warning(_log, "connection_refused")
            self._acceptor.metrics.association(Outcome.EVICTED, None)
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        association = AcceptorAssociation(self._acceptor, connection, address, tls, self)
        with self._lock:
            self._waiting[association] = None
            self._living[association] = None
            self._acceptor.metrics.waiting(len(self._waiting))
        try:
            association.start()
        except RuntimeError:
            # no more threads to be had
            self.ended(association)
            raise

    def _make_room(self) -> None:
        # this thread alone lets connections in, so nobody fills the room meanwhile
        if len(self._waiting) < MOST_WAITING:
            return
        # before the lock, for which every association's end waits: it may read a file
        peers = self._peers()
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                return
            stranger = (one for one in self._waiting if not peers.expects(one.address))
            evicted = next(stranger, next(iter(self._waiting)))
            del self._waiting[evicted]
        evicted.evicted = True
        evicted.cut()
        _rarely.warning(_log, "connection_evicted", waiting=MOST_WAITING)

    def _hurry_one(self) -> bool:
        """Cut the connection that has been leaving longest; false where none is."""
        leaving = next((one for one in self.living if one.leaving), None)
        if leaving is None:
            return False
        self.ended(leaving)
        leaving.cut()
        return True

    def decided(self, association: AcceptorAssociation) -> None:
        """Note that an association is admitted or refused: it no longer waits."""
        with self._lock:
            if association in self._waiting:
                del self._waiting[association]
                self._acceptor.metrics.waiting(len(self._waiting))

    def ended(self, association: AcceptorAssociation) -> None:
        """Note that an association's connection is closed."""
        self.decided(association)
        with self._lock:
            self._living.pop(association, None)
            last = not self._living
        if last:
            # associations are cycles of references, too few to be collected soon and too large to wait
            gc.collect()


def _address(text: str) -> Address:
    # link-local IPv6 addresses carry the interface after a per cent sign
    return ipaddress.ip_address(text.partition("%")[0])
