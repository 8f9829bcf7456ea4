from __future__ import annotations

from collections import Counter

import pytest

from db.vocabulary import Share, Side, Use
from tests.factories.rows import digest
from training.datasets.patients import TEST_SHARE, VALIDATION_SHARE, WATCH_SHARE
from training.nightly.snapshot.sides import SEALED_SHARE, share_of, side_by_use, side_of

MANY = [digest(f"patient {number}")[:16] for number in range(20_000)]


def test_sides_have_the_shares_that_are_promised() -> None:
    found = Counter(map(side_of, MANY))
    shares = {Side.HELD_OUT: TEST_SHARE, Side.VALIDATION: VALIDATION_SHARE, Side.WATCH: WATCH_SHARE}
    for side, share in shares.items():
        # four standard deviations
        assert abs(found[side] / len(MANY) - share) < 4 * (share * (1 - share) / len(MANY)) ** 0.5
    held = [patient for patient in MANY if side_of(patient) is Side.HELD_OUT]
    sealed = sum(share_of(patient) is Share.SEALED for patient in held) / len(held)
    # and which share it is has nothing to do with the side
    assert abs(sealed - SEALED_SHARE) < 4 * (SEALED_SHARE * (1 - SEALED_SHARE) / len(held)) ** 0.5


def test_nobody_moves_with_a_release() -> None:
    # what installations have noted, or will: these must never change
    assert [(side_of(one).value, share_of(one).value) for one in MANY[:8]] == [
        ("FIT", "TEST"),
        ("FIT", "TEST"),
        ("FIT", "TEST"),
        ("FIT", "TEST"),
        ("HELD_OUT", "SEALED"),
        ("FIT", "SEALED"),
        ("WATCH", "TEST"),
        ("FIT", "SEALED"),
    ]


@pytest.mark.parametrize(
    ("uses", "side"),
    [
        ({Use.FIT}, Side.FIT),
        ({Use.FIT, Use.WATCH}, Side.WATCH),
        ({Use.FIT, Use.VALIDATION}, Side.VALIDATION),
        ({Use.VALIDATION, Use.RESERVED}, Side.HELD_OUT),
        ({Use.TEST, Use.FIT}, Side.HELD_OUT),
        ({Use.DROPPED}, None),
        (set(), None),
    ],
)
def test_held_out_wins_where_uses_differ(uses: set[Use], side: Side | None) -> None:
    assert side_by_use(uses) is side
