"""How long to wait before asking again for what is away."""

from __future__ import annotations

from collections.abc import Iterator


def backoff(first: float = 0.1, longest: float = 5.0) -> Iterator[float]:
    """Yield pauses in seconds, doubling from `first` to `longest`, without end."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)
