"""Honest senders: known peers that send objects of many sizes and send again what was not acknowledged."""

from __future__ import annotations

import hashlib
import random
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bench import encoding
from bench.association import SUCCESS, Association, Refused, Target, store
from bench.encoding import LARGEST_PDU, Message, Sample, new_uid
from bench.soak_account import Account
from bench.soak_system import KNOWN

DX_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.1.1"
# megabytes of pixels, and how often each is sent
SIZES: Final = {0.2: 50, 1.0: 25, 5.0: 15, 15.0: 10}
_MOST_STORES: Final = 6
_PAUSE_SECONDS: Final = 0.3
_PATIENCE_SECONDS: Final = 0.2


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    group, number = divmod(tag, 1 << 16)
    value += b"\0" * (len(value) % 2)
    if vr == b"OW":
        return struct.pack("<HH2sHL", group, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def sample(megabytes: float, seed: int) -> Sample:
    """Make an object that the listener has no reason to refuse; its pixels are noise, which nobody decodes here."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    uid = new_uid(chance)
    return Sample(
        DX_STORAGE,
        uid,
        _element(0x00080016, b"UI", DX_STORAGE.encode())
        + _element(0x00080018, b"UI", uid.encode())
        + _element(0x00080060, b"CS", b"DX")
        + _element(0x7FE00010, b"OW", chance.randbytes(int(megabytes * 1e6))),
    )


@dataclass
class Wire:
    """A sample encoded once, and the digest of its data set under any other UID.

    Parameters
    ----------
    sample : Sample
    """

    sample: Sample
    message: Message = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.message = encoding.encode(self.sample, LARGEST_PDU)
        self.size = len(self.sample.data_set)

    def digest(self, uid: str) -> str:
        """SHA-256 of the data set as it is sent under this UID."""
        before, after = self.sample.data_set.split(self.sample.sop_instance_uid.encode(), 1)
        whole = hashlib.sha256(before + uid.encode())
        whole.update(after)
        return whole.hexdigest()


@dataclass
class Load:
    """As many senders as are wanted at the moment.

    Parameters
    ----------
    targets : sequence of Target
        One is chosen for each association.
    account : Account
    has_room : callable
        Whether the disk still has room for what is acknowledged.
    most : int
        Associations at once, at most.
    seed : str
    """

    targets: Sequence[Target]
    account: Account
    has_room: Callable[[], bool]
    most: int
    seed: str
    active: int = 1
    wires: Sequence[Wire] = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wires = [Wire(sample(megabytes, number)) for number, megabytes in enumerate(SIZES)]

    def start(self) -> None:
        """Begin; `active` of the senders send."""
        self._threads = [threading.Thread(target=self._run, args=(place,), name="sender") for place in range(self.most)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish the association it has."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, place: int) -> None:
        chance = random.Random(f"{self.seed}/{place}")  # noqa: S311 - repeatable
        # what was sent and not acknowledged, under its UID
        again: list[tuple[Wire, str]] = []
        while not self._stop.wait(chance.uniform(0, _PAUSE_SECONDS)):
            if place < self.active and self.has_room():
                self._associate(chance, KNOWN[place % len(KNOWN)], again)
        # what we send again for the last time must not be missing from the account
        for _ in range(20):
            if not again:
                return
            self._associate(chance, KNOWN[place % len(KNOWN)], again, fresh=0)

    def _associate(
        self, chance: random.Random, calling: str, again: list[tuple[Wire, str]], fresh: int | None = None
    ) -> None:
        fresh = chance.randint(1, _MOST_STORES) if fresh is None else fresh
        wires = chance.choices(self.wires, list(SIZES.values()), k=fresh)
        todo = [*again, *((wire, new_uid(chance)) for wire in wires)]
        again.clear()
        target = replace(chance.choice(self.targets), calling=calling)
        try:
            link = Association(target, DX_STORAGE)
        except (OSError, Refused) as error:
            self.account.failed(f"no association: {type(error).__name__}: {error}")
            again += todo
            time.sleep(_PATIENCE_SECONDS)
            return
        for place, (wire, uid) in enumerate(todo):
            digest = wire.digest(uid)
            self.account.sending(digest, wire.size)
            sent = store(link, wire.message, bytearray(wire.message.head), uid)
            if sent.status != SUCCESS:
                status = "no status" if sent.status is None else f"status {sent.status:04x}"
                self.account.failed(f"{status}, {sent.error}")
                again += todo[place:]
                link.drop()
                return
            self.account.stored(digest, sent.answered - sent.began, tls=target.tls is not None)
        link.close()
