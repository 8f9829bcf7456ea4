from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.oracle import Answered, asked, reckon
from tests.fuzz.session import AWAIT, RESET, Session, load, save, send
from tests.peers.data_sets import EXPLICIT, data_set
from tests.peers.raw import associate_request, echo_command, message, pdu, store_command, value

RQ = associate_request()
DATA = data_set("1.2.3")
STORE = message(store_command("1.2.3"), DATA, size=50)
STORED = Answered(0x8001, 7, 0)


def test_an_acknowledgement_claims_the_bytes_that_were_sent() -> None:
    reckoning = reckon(RQ + STORE, [STORED], {1: EXPLICIT})
    assert reckoning.trouble == []
    assert [(held.instance, held.transfer_syntax) for held in reckoning.held] == [("1.2.3", EXPLICIT)]


@pytest.mark.parametrize(
    ("sent", "answers", "accepted"),
    [
        pytest.param(RQ + STORE[:-1], [STORED], {1: EXPLICIT}, id="the last byte is missing"),
        pytest.param(RQ + STORE, [STORED, STORED], {1: EXPLICIT}, id="more answers than requests"),
        pytest.param(RQ + STORE, [Answered(0x8001, 8, 0)], {1: EXPLICIT}, id="another message id"),
        pytest.param(RQ + STORE, [Answered(0x8030, 7, 0)], {1: EXPLICIT}, id="another request"),
        pytest.param(RQ + STORE, [STORED], {3: EXPLICIT}, id="a context that was not accepted"),
        pytest.param(
            RQ + message(store_command("1.2.3", data_set=False)), [STORED], {1: EXPLICIT}, id="nothing to keep"
        ),
        pytest.param(STORE, [STORED], {1: EXPLICIT}, id="without an association"),
        pytest.param(RQ + pdu(5, bytes(4)) + STORE, [STORED], {1: EXPLICIT}, id="after the release"),
        pytest.param(
            RQ + message(store_command("1.2.3")) + pdu(4, value(3, 2, DATA)), [STORED], {1: EXPLICIT}, id="two contexts"
        ),
        pytest.param(
            RQ + message(store_command("1.2.3")) + message(echo_command()),
            [STORED],
            {1: EXPLICIT},
            id="command as data",
        ),
    ],
)
def test_an_answer_that_must_not_be_is_seen(sent: bytes, answers: list[Answered], accepted: dict[int, str]) -> None:
    assert reckon(sent, answers, accepted).trouble


def test_a_refusal_claims_nothing() -> None:
    assert reckon(RQ + STORE, [Answered(0x8001, 7, 0xA700)], {1: EXPLICIT}).held == []


def test_messages_are_read_however_they_are_cut() -> None:
    whole = b"".join((RQ, STORE, message(echo_command()), message(store_command("1.2.4"), DATA)))
    assert [one.instance for one in asked(whole)] == ["1.2.3", "", "1.2.4"]
    assert [one.data for one in asked(whole)] == [DATA, b"", DATA]


def test_a_session_is_kept_and_read_back(tmp_path: Path) -> None:
    session = Session("1.2", "127.0.0.3", (send(b"\0\xff"), AWAIT, RESET), ("bits",), 2)
    assert load(save([session, session], tmp_path / "new" / "found.jsonl")) == [session, session]
