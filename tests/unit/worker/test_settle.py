from __future__ import annotations

from worker.settle import keyed_draw


def test_the_draw_is_the_same_for_all_who_have_the_key_and_no_other() -> None:
    assert keyed_draw("key", "1.2.3", 1) == keyed_draw("key", "1.2.3", 1)
    assert keyed_draw("key", "1.2.3", 1) != keyed_draw("key", "1.2.3", 2)
    assert keyed_draw("key", "1.2.3", 1) != keyed_draw("another", "1.2.3", 1)


def test_a_share_of_studies_is_drawn() -> None:
    drawn = sum(keyed_draw("key", f"1.2.{number}", 1) < 0.02 for number in range(50_000))
    # binomial: 1,000 expected, standard deviation 31
    assert 850 < drawn < 1150
