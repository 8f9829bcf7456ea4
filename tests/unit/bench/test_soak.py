from __future__ import annotations

import hashlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from bench import encoding
from bench.soak import MEMORY_MARGIN, Report, text
from bench.soak_account import Account, Balance, balance
from bench.soak_load import DX_STORAGE, Wire, sample
from bench.soak_system import Footprint
from dicom_listener.storage.structure import Surveyor, Verdict

QUIET = Footprint(7, 28, 80_000_000)


def keeper(**found: int) -> Any:
    return SimpleNamespace(
        found=Counter(found), entries=sum(found.values()), damaged=[], gaps=0, left=[], bytes=sum(found.values())
    )


def account(**acknowledged: int) -> Account:
    one = Account()
    for digest, count in acknowledged.items():
        one.sending(digest, 10)
        for _ in range(count):
            one.stored(digest, 0.1)
    return one


@pytest.mark.parametrize(
    ("acknowledged", "found", "lost", "foreign", "unacknowledged"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 0, 0, 0),
        ({"a": 1, "b": 1}, {"a": 1}, 1, 0, 0),
        ({"a": 2}, {"a": 1}, 1, 0, 0),
        ({"a": 1}, {"a": 2}, 0, 0, 1),
        ({"a": 0}, {"a": 1}, 0, 0, 1),
        ({"a": 1}, {"a": 1, "x": 1}, 0, 1, 1),
    ],
)
def test_what_was_told_is_held_against_what_is_there(
    acknowledged: dict[str, int], found: dict[str, int], lost: int, foreign: int, unacknowledged: int
) -> None:
    held = balance(account(**acknowledged), keeper(**found), sum(found.values()))
    assert (held.lost, held.foreign, held.unacknowledged) == (lost, foreign, unacknowledged)


def test_a_digest_is_that_of_the_data_set_on_the_wire() -> None:
    wire = Wire(sample(0.3, 1))
    other = Wire(sample(0.1, 2)).sample.sop_instance_uid
    head = bytearray(wire.message.head)
    encoding.patch(head, wire.message.places, other)
    stream, data = bytes(head) + wire.message.tail, b""
    while stream:
        _, length = encoding.parse_header(stream[:6])
        if not stream[11] & 1:
            data += stream[12 : 6 + length]
        stream = stream[6 + length :]
    assert hashlib.sha256(data).hexdigest() == wire.digest(other)


def test_the_listener_has_no_reason_to_refuse_a_sample() -> None:
    made = sample(0.1, 1)
    surveyor = Surveyor(explicit=True)
    surveyor.feed(made.data_set)
    survey = surveyor.finish()
    assert (survey.verdict, survey.sop_class_uid) == (Verdict.SOUND, DX_STORAGE)
    assert survey.sop_instance_uid == made.sop_instance_uid


def test_only_our_own_kills_excuse_a_failure() -> None:
    one = Account()
    one.failed("closed")
    assert one.unexplained == ["closed"]
    one.broke()
    one.failed("closed")
    assert (one.broken_by_kill, one.unexplained) == (1, ["closed"])


def report(**changed: Any) -> Report:
    facts: dict[str, Any] = {
        "minutes": 1,
        "seed": 1,
        "facts": {"processor": "2 x"},
        "balance": Balance(3, 3, 3, 3, 0, 0, 0, 0, 0, 0),
        "unexplained": [],
        "broken_by_kill": 0,
        "seconds": {"0.2": {"stores": 3, "p50": 0.1, "p95": 0.1, "most": 0.1}},
        "start": QUIET,
        "peak": QUIET,
        "end": QUIET,
        "kills": 1,
        "drain": (0, 1.2),
        "attacks": {"floods": 1},
        "gigabytes": 0.1,
        "over_tls": 1,
    }
    return Report(**{**facts, **changed})


def test_a_good_run_has_no_troubles() -> None:
    grown = Footprint(7, 28, QUIET.memory + MEMORY_MARGIN)
    assert report(end=grown).troubles() == []
    assert "WRONG" not in text(report())


@pytest.mark.parametrize(
    "changed",
    [
        *({"balance": Balance(*([3] * 4), *[int(n == wrong) for n in range(6)])} for wrong in (0, 1, 3, 4, 5)),
        {"balance": Balance(3, 3, 3, 2, 0, 0, 0, 0, 0, 0)},
        {"unexplained": ["closed"]},
        {"end": Footprint(8, 28, QUIET.memory)},
        {"end": Footprint(7, 29, QUIET.memory)},
        {"end": Footprint(7, 28, QUIET.memory + MEMORY_MARGIN + 1)},
        {"drain": (1, 1.2)},
        {"events": {"no event": 1}},
    ],
)
def test_whatever_must_not_be_is_told(changed: dict[str, Any]) -> None:
    found = report(**changed)
    assert len(found.troubles()) == 1
    assert "WRONG" in text(found)
