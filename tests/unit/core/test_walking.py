from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.walking import HEADER, LONG_LENGTH, Walker, Want


class Echo(Walker[bytes]):
    """Asks for what it is told to and returns all that it was given."""

    def __init__(self, *wants: Want) -> None:
        super().__init__(self._ask(wants))

    @staticmethod
    def _ask(wants: tuple[Want, ...]) -> Generator[Want, bytes, bytes]:
        given = b""
        for want in wants:
            given += yield want
        return given

    @property
    def found(self) -> bytes | None:
        return self._found

    @property
    def may_end(self) -> bool:
        return self._may_end()


@given(pieces=st.lists(st.binary(max_size=7), max_size=30))
def test_whatever_the_fragments_the_walk_is_given_what_it_wants(pieces: list[bytes]) -> None:
    echo = Echo(HEADER, Want(5, kept=False), Want(0, kept=True), LONG_LENGTH)
    for piece in pieces:
        echo.feed(memoryview(piece))
    content = b"".join(pieces)
    assert echo.found == (content[:8] + content[13:17] if len(content) >= 17 else None)


def test_what_comes_after_the_end_is_thrown_away() -> None:
    echo = Echo(LONG_LENGTH)
    echo.feed(b"12345678")
    echo.feed(b"9")
    assert echo.found == b"1234"


@pytest.mark.parametrize(
    ("want", "content", "may_end"),
    [
        (HEADER, b"", True),
        (HEADER, bytes(7), True),
        (HEADER, bytes(6) + b"\1", False),
        (LONG_LENGTH, b"", False),
        # as long as a header, and none
        (Want(8, kept=False), b"", False),
    ],
)
def test_zeros_alone_are_left_over_at_an_end(want: Want, content: bytes, *, may_end: bool) -> None:
    echo = Echo(want)
    echo.feed(content)
    assert echo.may_end is may_end


def test_what_nothing_is_asked_of_is_stepped_over() -> None:
    echo = Echo(HEADER, Want(100, kept=False), LONG_LENGTH)
    assert not echo.step_over(1), "a header is kept"
    echo.feed(bytes(8))
    assert not echo.step_over(100), "with the last of them the walk goes on"
    assert echo.step_over(60)
    assert not echo.step_over(40)
    assert echo.step_over(39)
    echo.feed(bytes(1))
    assert not echo.step_over(4)
    echo.feed(bytes(4))
    assert echo.step_over(1000), "the walk is over"
