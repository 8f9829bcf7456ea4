"""What a fuzzed peer does, step by step; can be kept in a file and done again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from tests.peers.raw import pdu

# how long a mutated session waits for an answer that may never come
AWAIT_SECONDS = 0.3


class Kind(StrEnum):
    SEND = "send"
    AWAIT = "await"
    PAUSE = "pause"
    HALF_CLOSE = "half close"
    RESET = "reset"
    STAY = "stay"
    """Say nothing more and wait until the listener closes."""


@dataclass(frozen=True)
class Step:
    kind: Kind
    content: bytes = b""
    seconds: float = 0.0


def send(content: bytes) -> Step:
    return Step(Kind.SEND, content)


def send_pdu(kind: int, content: bytes) -> Step:
    return send(pdu(kind, content))


AWAIT = Step(Kind.AWAIT, seconds=AWAIT_SECONDS)
HALF_CLOSE = Step(Kind.HALF_CLOSE)
RESET = Step(Kind.RESET)
STAY = Step(Kind.STAY)


@dataclass(frozen=True)
class Session:
    """One connection of a peer.

    `mutations` names what was done to a valid session; without any, every
    request of it must be answered by success and the release be confirmed.
    """

    name: str
    source: str
    steps: tuple[Step, ...]
    mutations: tuple[str, ...] = ()
    requests: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "mutations": list(self.mutations),
            "requests": self.requests,
            "steps": [[step.kind, step.content.hex(), step.seconds] for step in self.steps],
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        steps = tuple(
            Step(Kind(kind), bytes.fromhex(content), float(seconds)) for kind, content, seconds in said["steps"]
        )
        return cls(said["name"], said["source"], steps, tuple(said["mutations"]), said["requests"])


def save(sessions: Iterable[Session], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(session.as_json()) for session in sessions) + "\n")
    return path


def load(path: Path) -> Sequence[Session]:
    """Read what `save` wrote: one session a line, so that a person can take lines out."""
    return [Session.from_json(json.loads(line)) for line in path.read_text().splitlines()]
