from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_listener.association.commands import Command
from dicom_listener.association.messages import LONGEST_COMMAND, Message, Messages
from dicom_listener.services import Reception
from dicom_listener.status import Answer, StoreStatus
from dicom_listener.upper_layer.provider import BadPdu, Piece
from tests.peers.raw import echo_command, store_command

STORE = store_command("1.2.3")
ECHO = echo_command()


class Keeping:
    """A reception that keeps what it is given."""

    def __init__(self) -> None:
        self.content = b""
        self.abandoned = 0

    def write(self, fragment: memoryview) -> None:
        self.content += fragment

    def finish(self) -> Answer:
        return StoreStatus.STORED.answer

    def abandon(self) -> None:
        self.abandoned += 1


def make(maximum: int = 1000) -> tuple[Messages, Keeping]:
    kept = Keeping()

    def begin(context_id: int, command: Command, began: float) -> Reception:
        assert context_id == 1
        assert command.message_id > 0
        assert messages.began == began <= time.monotonic()
        return kept

    messages = Messages(begin, maximum)
    return messages, kept


def command(content: bytes, *, last: bool = True, context: int = 1) -> Piece:
    return Piece(context, is_command=True, is_last=last, content=memoryview(content))


def data(content: bytes, *, last: bool = True, context: int = 1) -> Piece:
    return Piece(context, is_command=False, is_last=last, content=memoryview(content))


def taken(messages: Messages) -> Message:
    message = messages.take()
    assert message is not None
    return message


def test_a_request_without_data_set_is_complete_with_its_command() -> None:
    messages, _ = make()
    messages.receive(command(ECHO))
    assert taken(messages).size == 0
    assert messages.take() is None
    assert messages.began is None


@given(st.integers(1, len(STORE) - 1), st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_a_message_in_any_fragments(cut: int, fragments: list[bytes]) -> None:
    messages, kept = make()
    messages.receive(command(STORE[:cut], last=False))
    assert messages.began is not None
    messages.receive(command(STORE[cut:]))
    for number, fragment in enumerate(fragments, 1):
        assert messages.take() is None
        messages.receive(data(fragment, last=number == len(fragments)))
    message = taken(messages)
    assert kept.content == b"".join(fragments)
    assert message.size == len(kept.content)


def refusal(*pieces: Piece, maximum: int = 1000) -> str:
    messages, _ = make(maximum)
    *before, last = pieces
    for piece in before:
        messages.receive(piece)
    with pytest.raises(BadPdu) as refused:
        messages.receive(last)
    return refused.value.event


def test_data_needs_a_command() -> None:
    assert refusal(data(b"x")) == "data_set_without_command"


def test_no_command_within_a_data_set() -> None:
    assert refusal(command(STORE), data(b"x", last=False), command(ECHO)) == "command_within_data_set"


def test_nothing_after_a_complete_message_until_it_is_taken() -> None:
    assert refusal(command(ECHO), command(ECHO)) == "message_pipelined"


def test_a_message_keeps_to_its_context() -> None:
    assert refusal(command(STORE), data(b"x", context=3)) == "message_changes_context"
    assert refusal(command(STORE[:9], last=False), command(STORE[9:], context=3)) == "message_changes_context"


def test_a_command_has_a_cap() -> None:
    assert refusal(command(bytes(LONGEST_COMMAND), last=False), command(b"x")) == "command_too_long"


def test_a_command_that_is_none() -> None:
    assert refusal(command(b"not a command set")) == "command_malformed"


def test_a_data_set_has_a_cap() -> None:
    at_the_cap = (command(STORE), data(bytes(600), last=False), data(bytes(400), last=False))
    assert refusal(*at_the_cap, data(b"x")) == "message_too_long"


def test_what_is_abandoned_is_forgotten() -> None:
    messages, kept = make()
    messages.receive(command(STORE))
    messages.receive(data(b"half", last=False))
    messages.abandon()
    assert (kept.abandoned, messages.began) == (1, None)
    messages.receive(command(ECHO))
    assert taken(messages).size == 0
    # nothing is abandoned twice, nor after it was taken
    messages.abandon()
    assert kept.abandoned == 1
