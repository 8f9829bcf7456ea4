"""As many values at a time as a statement takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

_Value = TypeVar("_Value")

# SQLite of old takes 999 parameters, and some statements name a value twice
AT_ONCE: Final = 400


def in_chunks(values: Iterable[_Value], size: int = AT_ONCE) -> Iterator[list[_Value]]:
    """Yield the values in order, `size` at a time, the last time as many as are left."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
