"""Who may send to us, and where to report back: the peers file.

The listener needs no database to know its peers, and a worker reads the same
file to find where a storage commitment is reported.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from core import peers_format
from core.errors import Misconfigured
from core.logging import get
from core.peers_format import Network
from core.rarely import Rarely
from core.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REMINDER_SECONDS: Final = 60.0

_log = get(__name__)


class Unknown(StrEnum):
    """What becomes of a peer that the file does not name."""

    REFUSE = "refuse"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer: an AE title bound to where it may come from.

    Attributes
    ----------
    ae_title : str
        Printable, at most 16 characters.
    networks : tuple of Network
        Where its connections may come from; one address is a network of one.
    sop_classes : frozenset of str or None
        UIDs of the storage SOP classes it may send; None means all.
    report_host : str or None
    report_port : int or None
        Where it listens for the reports of storage commitment; both or neither.
    certificate : str or None
        SHA-256 of the client certificate it must show over TLS, lower-case hexadecimal; None means any that is trusted.
    """

    ae_title: str
    networks: tuple[Network, ...]
    sop_classes: frozenset[str] | None = None
    report_host: str | None = None
    report_port: int | None = None
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Peers:
    """All peers, and what becomes of others."""

    peers: tuple[Peer, ...]
    unknown: Unknown
    _by_title: dict[str, list[tuple[Network, Peer]]] = field(init=False, repr=False, compare=False)
    # by version and length, the prefixes of all networks
    _prefixes: dict[tuple[int, int], set[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_title: dict[str, list[tuple[Network, Peer]]] = {}
        prefixes: dict[tuple[int, int], set[int]] = {}
        for peer in self.peers:
            by_title.setdefault(peer.ae_title, []).extend((network, peer) for network in peer.networks)
            for network in peer.networks:
                prefix = _prefix(network.network_address, network.prefixlen)
                prefixes.setdefault((network.version, network.prefixlen), set()).add(prefix)
        for entries in by_title.values():
            # the most specific first; entries as specific as each other are of other places
            entries.sort(key=lambda entry: entry[0].prefixlen, reverse=True)
        object.__setattr__(self, "_by_title", by_title)
        object.__setattr__(self, "_prefixes", prefixes)

    def find(self, ae_title: str | None, address: Address) -> Peer | None:
        """Return the entry that names this AE title and allows this address; the most specific one where several do.

        An IPv4 address that reached us as IPv6 (``::ffff:10.1.2.3``, as a
        socket for both kinds shows it) counts as the IPv4 address it is.
        """
        if ae_title is None:
            return None
        address = _unmapped(address)
        entries = self._by_title.get(ae_title, ())
        return next((peer for network, peer in entries if address in network), None)

    def expects(self, address: Address) -> bool:
        """Say whether any peer may come from this address; quick, for in a flood all who wait are asked about."""
        address = _unmapped(address)
        return any(
            version == address.version and _prefix(address, length) in prefixes
            for (version, length), prefixes in self._prefixes.items()
        )

    def admits(self, ae_title: str | None, address: Address) -> bool:
        """Say whether a peer may have an association at all.

        Where unknown peers are accepted, an AE title that the file binds to
        addresses is still refused from elsewhere: nobody may borrow the name
        of a known peer, which receipts and priorities go by.
        """
        if self.find(ae_title, address) is not None:
            return True
        return self.unknown is Unknown.ACCEPT and ae_title not in self._by_title


# no file: a fresh installation takes from everybody
EVERYBODY: Final = Peers((), Unknown.ACCEPT)


def parse(content: bytes, path: Path) -> Peers:
    """Read the content of a peers file.

    Parameters
    ----------
    content : bytes
        TOML, UTF-8. Empty content is a file without peers, which refuses everybody.
    path : Path
        Where it came from; for messages only.

    Raises
    ------
    Misconfigured
        Naming the file, the entry, the key, what is wrong and what to do.
    """
    checked = peers_format.parse(content, path)
    return Peers(
        tuple(
            Peer(
                ae_title=entry.ae_title,
                networks=tuple(entry.addresses),
                sop_classes=None if entry.sop_classes is None else frozenset(entry.sop_classes),
                report_host=None if entry.report_to is None else entry.report_to[0],
                report_port=None if entry.report_to is None else entry.report_to[1],
                certificate=entry.certificate,
            )
            for entry in checked.peer
        ),
        Unknown(checked.unknown),
    )


def read(path: Path) -> Peers:
    """Read the peers file once.

    Raises
    ------
    FileNotFoundError
        If there is none.
    Misconfigured
        If it is wrong; see `parse`.
    OSError
        If it cannot be read.
    """
    return _read(path)[1]


# device, inode, size, times of content and of owner and mode
_Stamp = tuple[int, ...]
# equals none: what could not be read, for lack of a right or of descriptors, is tried again each time
_TRY_AGAIN: Final[_Stamp] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What was last seen of the file; replaced as a whole, so that no lock is needed to read it."""

    stamp: _Stamp | None
    peers: Peers
    problem: str | None = None


class PeersFile:
    """The peers file, read again when it changes. Safe for threads; `current` costs one ``stat``.

    Without a file everybody may send, as on a fresh installation. A file that
    disappears or becomes wrong while we run changes nothing: what it last said
    stays in force, and a warning repeats once a minute.

    Parameters
    ----------
    path : Path
    required : bool
        Whether a missing file is an error at start: it was asked for by name.
    rarely : Rarely or None
        Tests pass one with a clock of their own.

    Raises
    ------
    Misconfigured
        If the file is wrong at start.
    """

    def __init__(self, path: Path, *, required: bool = False, rarely: Rarely | None = None) -> None:
        self._path = path
        self._rarely = rarely or Rarely(_REMINDER_SECONDS)
        self._lock = threading.Lock()
        try:
            stamp, peers = _read(path)
        except FileNotFoundError:
            if required:
                message = (
                    f"there is no peers file at {path} (LUNGWATCH_PEERS_FILE); make one with lungwatch peers add or "
                    "lungwatch peers unknown, or unset the variable"
                )
                raise Misconfigured(message) from None
            stamp, peers = None, EVERYBODY
        except OSError as error:
            raise Misconfigured(_unreadable(path, error)) from None
        self._known = _Known(stamp, peers)
        _say(peers, exists=stamp is not None)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the file the settings name; only one they name explicitly must exist."""
        return cls(settings.peers, required=settings.peers_file is not None)

    def current(self) -> Peers:
        """Return who may send now; never raises."""
        known = self._known
        if known.problem is None and known.stamp == _stamp_of(self._path):
            return known.peers
        with self._lock:
            self._look_again()
            return self._known.peers

    def _look_again(self) -> None:
        known = self._known
        stamp = _stamp_of(self._path)
        if stamp != known.stamp:
            known = self._known = self._read_again(known, stamp)
        if known.problem is not None:
            self._rarely.warning(_log, "peers_file_wrong", problem=known.problem, in_force="what it last said")

    def _read_again(self, known: _Known, stamp: _Stamp | None) -> _Known:
        try:
            read_stamp, peers = _read(self._path)
        except FileNotFoundError:
            return _Known(None, known.peers, f"{self._path} is gone; put it back")
        except OSError as error:
            return _Known(_TRY_AGAIN, known.peers, _unreadable(self._path, error))
        except Misconfigured as wrong:
            return _Known(stamp, known.peers, str(wrong))
        _say(peers, exists=True)
        return _Known(read_stamp, peers)


def _say(peers: Peers, *, exists: bool) -> None:
    if not exists:
        _log.warning("everybody_may_send", why="there is no peers file; lungwatch peers add makes one")
    elif not peers.peers and peers.unknown is Unknown.REFUSE:
        _log.warning("nobody_may_send", why="the peers file names no peer; lungwatch peers add names one")
    else:
        _log.info("peers_file_read", peers=len(peers.peers), unknown=peers.unknown.value)


def _stamp(status: os.stat_result) -> _Stamp:
    # st_ctime_ns: a file that may be read after chmod or chown is the same in all else
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _read(path: Path) -> tuple[_Stamp, Peers]:
    # without O_NONBLOCK opening a FIFO would wait for ever
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # taken before reading: a change while we read is seen as one the next time
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            message = f"{path} is no regular file; docs/runbook.md (Who may send) shows what it holds"
            raise Misconfigured(message)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(peers_format.LARGEST + 1)
    finally:
        os.close(descriptor)
    return _stamp(status), parse(content, path)


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path} cannot be read ({error.strerror}); give the user that Lungwatch runs as the right to"


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _prefix(address: Address, length: int) -> int:
    return int(address) >> (address.max_prefixlen - length)
