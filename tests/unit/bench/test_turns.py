from __future__ import annotations

from collections import Counter

import pytest

from bench.listener import parse, turns
from bench.receivers import RECEIVERS
from bench.sender import Plan


def test_every_receiver_meets_every_load_equally_often() -> None:
    options = parse(["--repetitions", "5", "--associations", "1,16,64", "--sizes", "15,5"])
    found = Counter((turn.receiver.name, turn.megabytes, turn.plan) for turn in turns(options))
    assert len(found) == len(RECEIVERS) * 3 * 2
    assert {(plan.associations, times) for (_, _, plan), times in found.items()} == {(1, 5), (16, 5), (64, 2)}


def test_receivers_take_turns_within_a_load_in_changing_order() -> None:
    order = list(turns(parse([])))
    size = len(RECEIVERS)
    rounds = [order[start : start + size] for start in range(0, len(order), size)]
    assert all(len({(turn.megabytes, turn.plan, turn.repetition) for turn in one}) == 1 for one in rounds)
    assert all({turn.receiver for turn in one} == set(RECEIVERS) for one in rounds)
    assert len({tuple(turn.receiver.name for turn in one) for one in rounds}) > size


def test_the_seed_decides_the_order() -> None:
    def order(seed: str) -> list[object]:
        return list(turns(parse(["--seed", seed])))

    assert order("1") == order("1")
    assert order("1") != order("2")


@pytest.mark.parametrize("associations", [1, 3, 4, 16, 64])
def test_associations_are_spread_over_few_processes(associations: int) -> None:
    plan = Plan(associations, 2 * associations)
    assert sum(plan.shares) == associations
    assert max(plan.shares) <= 4
    assert max(plan.shares) - min(plan.shares) <= 1
    assert plan.each == 2


@pytest.mark.parametrize(("associations", "images"), [(4, 6), (4, 0)])
def test_images_that_cannot_be_spread_evenly_are_refused(associations: int, images: int) -> None:
    with pytest.raises(ValueError, match="evenly"):
        Plan(associations, images)


def test_an_unknown_receiver_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--receivers", "dcm4chee,floor"])
    assert "no receiver dcm4chee; there are lungwatch" in capsys.readouterr().err


def test_quick_is_small_and_may_be_changed() -> None:
    options = parse(["--quick", "--associations", "3"])
    assert (options.repetitions, options.associations, options.each) == (1, [3], 2)
