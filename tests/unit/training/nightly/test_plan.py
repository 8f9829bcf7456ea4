"""What a night does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from db.vocabulary import NightKind
from training.nightly.plan import Standing, choose

MONDAY, SUNDAY = date(2027, 3, 1), date(2027, 3, 7)
USUAL = Standing(
    new_labels=80, frozen_test=True, both_classes=True, in_shadow=False, goes_on=None, same_architecture=True
)


@pytest.mark.parametrize(
    ("night", "changes", "kind", "why"),
    [
        (MONDAY, {}, NightKind.FINE_TUNE, "80 new labels"),
        (SUNDAY, {}, NightKind.FROM_SCRATCH, "weekday"),
        (MONDAY, {"same_architecture": False}, NightKind.FROM_SCRATCH, "another kind of network"),
        (MONDAY, {"new_labels": 49}, NightKind.EVALUATE, "49 new labels since the last challenger; 50"),
        (SUNDAY, {"new_labels": 0}, NightKind.EVALUATE, "0 new labels"),
        (SUNDAY, {"frozen_test": False}, NightKind.EVALUATE, "testset freeze"),
        (SUNDAY, {"both_classes": False}, NightKind.EVALUATE, "one class only"),
        (SUNDAY, {"in_shadow": True}, NightKind.EVALUATE, "in the shadow"),
        # what was begun is ended, on whatever day and however few labels came since
        (MONDAY, {"goes_on": NightKind.FROM_SCRATCH, "new_labels": 0}, NightKind.FROM_SCRATCH, "night before"),
        (SUNDAY, {"goes_on": NightKind.FINE_TUNE}, NightKind.FINE_TUNE, "night before"),
    ],
)
def test_a_night_does_what_its_standing_asks_for(
    night: date, changes: dict[str, object], kind: NightKind, why: str
) -> None:
    plan = choose(night, replace(USUAL, **changes), 50, 6)  # type: ignore[arg-type]
    assert plan.kind is kind
    assert why in plan.why


def test_without_a_weekday_nothing_is_trained_from_scratch() -> None:
    assert choose(SUNDAY, USUAL, 50, None).kind is NightKind.FINE_TUNE
