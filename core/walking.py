"""How an encoded data set is walked over while it arrives: what all walks have in common.

A walk asks for so many bytes, does something with them and asks again. Nothing
is held but what it waits for, so a data set may come in any fragments.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, Generic, NamedTuple, TypeVar

Found = TypeVar("Found")


class Want(NamedTuple):
    """What a walk waits for: so many bytes, to be given to it or merely to have passed."""

    size: int
    kept: bool


# PS3.5 7.1.2, 7.1.3: tag, and VR or length; the length that explicit VRs of the long form have besides
HEADER: Final = Want(8, kept=True)
LONG_LENGTH: Final = Want(4, kept=True)


class Walker(Generic[Found]):
    """Takes a walk further as bytes arrive: `feed` it any number of times.

    Parameters
    ----------
    steps : generator
        The walk: yields what it wants, is sent the bytes (none where they are
        not kept) and returns what it found if no further byte could change it.
        It is taken to its first want at once.
    """

    # a listener holds one for each association
    __slots__ = ("_found", "_held", "_seen", "_steps", "_want")

    def __init__(self, steps: Generator[Want, bytes, Found]) -> None:
        self._steps = steps
        self._want = next(steps)
        self._seen = 0
        self._held = b""
        self._found: Found | None = None

    def feed(self, fragment: bytes | memoryview) -> None:
        """Take the next bytes: little endian, not deflated, without file meta.

        What is stepped over costs nothing, however long it is.
        """
        position = 0
        while self._found is None:
            end = position + min(self._want.size - self._seen, len(fragment) - position)
            if self._want.kept:
                self._held += fragment[position:end]
            self._seen += end - position
            position = end
            if self._seen < self._want.size:
                return
            wanted, self._held, self._seen = self._held, b"", 0
            try:
                self._want = self._steps.send(wanted)
            except StopIteration as end_of_walk:
                self._found = end_of_walk.value

    def step_over(self, size: int) -> bool:
        """Take the next so many bytes unseen, if the walk asks for none of them; say whether it did."""
        if self._found is None:
            if self._want.kept or size >= self._want.size - self._seen:
                return False
            self._seen += size
        return True

    def _may_end(self) -> bool:
        """Whether all that is left over is nothing, or padding: zeros, fewer than an element has bytes."""
        return self._want is HEADER and not any(self._held)
