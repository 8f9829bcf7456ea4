"""What an epoch is said to have taken."""

from __future__ import annotations

import pytest

from training.fitting import stopwatch
from training.fitting.stopwatch import Stopwatch, Took


class Clocks:
    """Both clocks, as a test sets them."""

    def __init__(self) -> None:
        self.wall = self.processors = 100.0

    def monotonic(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.processors


def test_a_pause_takes_time_and_no_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    monkeypatch.setattr(stopwatch, "time", clocks)
    running = Stopwatch()
    clocks.wall, clocks.processors = 110.0, 118.04
    assert running.read() == Took(10.0, 18.0)
    clocks.wall = 3710.0
    assert running.read() == Took(3610.0, 18.0)
