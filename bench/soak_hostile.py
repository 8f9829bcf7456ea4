"""Peers that mean ill or are broken, each kind in a thread of its own, again and again.

None is in the peers file. Whatever one of them is told was stored must be
there all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from bench import encoding
from bench.association import CALLED, SUCCESS, Association, Refused, Target, connect, store
from bench.encoding import P_DATA, Sample, new_uid
from bench.soak_account import Account
from bench.soak_load import DX_STORAGE, Wire, sample
from bench.soak_system import KNOWN

_SILENT, _FLOOD = 20, 60
_LARGEST_MESSAGE: Final = 128 << 20
_MEGABYTE: Final = bytes(1 << 20)


@dataclass
class Hostile:
    """All kinds of attack, each by its name.

    Parameters
    ----------
    port, tls_port : int
    account : Account
    seed : str
    """

    port: int
    tls_port: int
    account: Account
    seed: str
    _wire: Wire = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._wire = Wire(sample(0.3, 99))

    def start(self) -> None:
        """Begin, each kind at once."""
        kinds: dict[str, Callable[[random.Random], None]] = {
            "silent connections": self._silent,
            "tricklers": self._trickle,
            "PDUs of 4 GiB": self._huge_pdu,
            "messages above the cap": self._huge_message,
            "garbage": self._garbage,
            "floods": self._flood,
            "resets within a message": self._reset,
            "wrong names": self._wrong_names,
            "strangers' stores": self._store,
            "damaged data sets": self._damaged,
        }
        self._threads = [
            threading.Thread(target=self._run, args=(name, attack), name=name) for name, attack in kinds.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all attacks and close what they hold."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, attack: Callable[[random.Random], None]) -> None:
        chance = random.Random(f"{self.seed}/{name}")  # noqa: S311 - repeatable
        while not self._stop.wait(chance.uniform(0.1, 2.0)):
            # to be refused, cut off or not heard is what attackers get
            with contextlib.suppress(OSError, Refused):
                attack(chance)
            self.account.attacked(name)

    def _target(self, chance: random.Random, calling: str = "EVIL", called: str = CALLED) -> Target:
        return Target(self.port, called=called, calling=calling, source=f"127.0.1.{chance.randint(1, 40)}", seconds=20)

    def _associate(self, chance: random.Random) -> Association:
        return Association(self._target(chance), DX_STORAGE)

    def _silent(self, chance: random.Random) -> None:
        with contextlib.ExitStack() as kept:
            for _ in range(_SILENT):
                target = replace(self._target(chance), port=chance.choice([self.port, self.tls_port]))
                kept.enter_context(connect(target))
            self._stop.wait(chance.uniform(1, 15))

    def _trickle(self, chance: random.Random) -> None:
        within = chance.random() < 0.5  # noqa: PLR2004 - a coin
        with contextlib.ExitStack() as kept:
            if within:
                connection: socket.socket = kept.enter_context(self._associate(chance)).socket
                content = self._wire.message.head
            else:
                connection = kept.enter_context(connect(self._target(chance)))
                content = encoding.associate_request(DX_STORAGE, called=CALLED, calling="EVIL")
            for octet in content:
                connection.sendall(bytes([octet]))
                if self._stop.wait(0.5):
                    return

    def _huge_pdu(self, chance: random.Random) -> None:
        with contextlib.ExitStack() as kept:
            if chance.random() < 0.5:  # noqa: PLR2004 - a coin
                connection: socket.socket = kept.enter_context(self._associate(chance)).socket
                connection.sendall(struct.pack(">BxL", P_DATA, 0xFFFFFFFF))
            else:
                connection = kept.enter_context(connect(self._target(chance)))
                connection.sendall(struct.pack(">BxL", encoding.ASSOCIATE_RQ, 0xFFFFFFFF))
            for _ in range(50):
                connection.sendall(_MEGABYTE)

    def _huge_message(self, chance: random.Random) -> None:
        if self._stop.wait(chance.uniform(20, 60)):
            return
        with self._associate(chance) as link:
            link.socket.sendall(self._wire.message.head)
            piece = b"".join(encoding.fragments(_MEGABYTE, encoding.LARGEST_PDU, command=False)[:-1])
            for _ in range(_LARGEST_MESSAGE // len(piece) + 2):
                link.socket.sendall(piece)

    def _garbage(self, chance: random.Random) -> None:
        with connect(self._target(chance)) as connection:
            connection.sendall(chance.randbytes(chance.randint(1, 5000)))
        with self._associate(chance) as link:
            link.socket.sendall(chance.randbytes(chance.randint(1, 5000)))
            link.read()

    def _flood(self, chance: random.Random) -> None:
        with contextlib.ExitStack() as kept:
            for _ in range(_FLOOD):
                with contextlib.suppress(OSError, Refused):
                    kept.enter_context(self._associate(chance))
            self._stop.wait(chance.uniform(0.5, 3))

    def _reset(self, chance: random.Random) -> None:
        with self._associate(chance) as link:
            message = self._wire.message.head + self._wire.message.tail
            link.socket.sendall(message[: chance.randrange(len(message))])
            link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _wrong_names(self, chance: random.Random) -> None:
        for calling, called in ((KNOWN[0], CALLED), ("EVIL", "SOMEBODY"), ("\n{}", CALLED)):
            with contextlib.suppress(OSError, Refused), connect(self._target(chance)) as connection:
                connection.sendall(encoding.associate_request(DX_STORAGE, called=called, calling=calling))
                connection.recv(100)

    def _store(self, chance: random.Random) -> None:
        with self._associate(chance) as link:
            for _ in range(chance.randint(1, 4)):
                uid = new_uid(chance)
                digest = self._wire.digest(uid)
                self.account.sending(digest, self._wire.size)
                sent = store(link, self._wire.message, bytearray(self._wire.message.head), uid)
                if sent.status == SUCCESS:
                    self.account.stored(digest)

    def _damaged(self, chance: random.Random) -> None:
        """Bits flipped, or cut short: most is refused, and what is taken must be kept as it came."""
        uid = new_uid(chance)
        data = bytearray(self._wire.sample.data_set.replace(self._wire.sample.sop_instance_uid.encode(), uid.encode()))
        if chance.random() < 0.5:  # noqa: PLR2004 - a coin
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.randint(0, 5) if data else 0):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        with self._associate(chance) as link:
            parts = encoding.fragments(bytes(data), encoding.LARGEST_PDU, command=False)
            command = encoding.encode(Sample(DX_STORAGE, uid, self._whole(uid)), encoding.LARGEST_PDU).head
            digest = hashlib.sha256(data).hexdigest()
            self.account.sending(digest, len(data))
            # the command's PDU alone: the data set's first begins behind it
            _, length = encoding.parse_header(command[:6])
            link.socket.sendall(command[: 6 + length] + b"".join(parts))
            if link.answer() == SUCCESS:
                self.account.stored(digest)

    def _whole(self, uid: str) -> bytes:
        return self._wire.sample.data_set.replace(self._wire.sample.sop_instance_uid.encode(), uid.encode())
