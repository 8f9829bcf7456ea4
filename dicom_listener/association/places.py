"""How many associations there are, counted over all processes of a listener (promise 9).

The processes share one small table in memory. Each association takes a row
when it is admitted and gives it back when it ends; a process that dies leaves
its rows to the parent, which clears them. A record lock guards the table,
because the kernel takes it back from whoever dies with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from core.peers import Address
from dicom_listener.rejections import Rejection

# process ID (0: free), whether the peer is known, digest of who it is
_ROW: Final = struct.Struct("<i?16s")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many associations may be served at once.

    Attributes
    ----------
    total : int
    reserved : int
        Of the total, those that only known peers may hold; counts where there
        are known peers.
    per_peer : int
        A known peer is its AE title at one address, any other its address.
    """

    total: int
    reserved: int
    per_peer: int


class Places:
    """The table; made before the processes are forked.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._descriptor = os.memfd_create("associations", os.MFD_CLOEXEC)
        os.ftruncate(self._descriptor, _ROW.size * limits.total)
        self._table = mmap.mmap(self._descriptor, _ROW.size * limits.total)
        self._threads = threading.Lock()

    def take(self, address: Address, known_as: str | None, *, reserve: bool) -> int | Rejection:
        """Take a place for an association.

        Parameters
        ----------
        address : Address
            Of the peer.
        known_as : str or None
            AE title of a known peer.
        reserve : bool
            Whether unknown peers have to leave the reserved places.

        Returns
        -------
        int or Rejection
            The place, to be given back; or why there is none.
        """
        identity = _identity(address, known_as)
        with self._locked():
            free: int | None = None
            held = held_by_unknown = held_by_peer = 0
            for place in range(self._limits.total):
                process, known, peer = _ROW.unpack_from(self._table, place * _ROW.size)
                if not process:
                    free = place if free is None else free
                    continue
                held += 1
                held_by_unknown += not known
                held_by_peer += peer == identity
            if held_by_peer >= self._limits.per_peer:
                return Rejection.PEER_LIMIT
            open_to_unknown = self._limits.total - (self._limits.reserved if reserve else 0)
            if free is None or (known_as is None and held_by_unknown >= open_to_unknown):
                return Rejection.LIMIT
            _ROW.pack_into(self._table, free * _ROW.size, os.getpid(), known_as is not None, identity)
            return free

    def give_back(self, place: int) -> None:
        """Free a place that this process took."""
        with self._locked():
            _ROW.pack_into(self._table, place * _ROW.size, 0, False, b"")  # noqa: FBT003 - a row's field

    def clear(self, process: int) -> int:
        """Free what a process that died has left, and return how many places those were."""
        cleared = 0
        with self._locked():
            for place in range(self._limits.total):
                if _ROW.unpack_from(self._table, place * _ROW.size)[0] == process:
                    _ROW.pack_into(self._table, place * _ROW.size, 0, False, b"")  # noqa: FBT003 - a row's field
                    cleared += 1
        return cleared

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # the record lock is the process's, so threads need one of their own
        with self._threads:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def _identity(address: Address, known_as: str | None) -> bytes:
    return hashlib.blake2b(f"{address} {known_as or ''}".encode(), digest_size=16).digest()
