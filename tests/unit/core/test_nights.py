"""Which night it is."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from core.nights import due, tonight


@pytest.mark.parametrize(
    ("now", "hour", "hours", "night"),
    [
        ("2026-11-30T01:59", 2, 5, None),
        ("2026-11-30T02:00", 2, 5, "2026-11-30"),
        ("2026-11-30T06:59", 2, 5, "2026-11-30"),
        # nothing begins in the middle of a working day
        ("2026-11-30T07:00", 2, 5, None),
        # a night that begins before midnight has that day's date after it as well
        ("2026-11-30T23:10", 22, 5, "2026-11-30"),
        ("2026-12-01T02:59", 22, 5, "2026-11-30"),
        ("2026-12-01T03:00", 22, 5, None),
    ],
)
def test_a_night_is_due_for_its_hours(now: str, hour: int, hours: float, night: str | None) -> None:
    assert due(datetime.fromisoformat(now), hour, hours) == (None if night is None else date.fromisoformat(night))


def local(hour: int) -> datetime:
    return datetime(2026, 12, 1, hour, tzinfo=UTC)


def test_a_night_by_hand_is_the_last_that_began_and_never_one_to_come() -> None:
    assert tonight(local(1), 22) == date(2026, 11, 30)
    assert tonight(local(12), 15) == date(2026, 11, 30)
    assert tonight(local(16), 15) == date(2026, 12, 1)
    assert tonight(local(12), None) == date(2026, 12, 1)
