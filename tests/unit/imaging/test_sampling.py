from __future__ import annotations

import numpy as np

from imaging.master import shrink
from imaging.sampling import FULL, Sampling


def test_edges_of_the_image_are_found_among_the_samples() -> None:
    # every fourth pixel from the first: it is sample 0, whose middle lies at 0.5 in both
    every_fourth = Sampling(4, 0.5)
    assert every_fourth.of(0.5) == 0.5
    assert every_fourth.of(4.5) == 1.5
    assert every_fourth.of(0) == 0.375
    assert FULL.of(17.25) == 17.25


def test_means_of_blocks_lie_in_their_middle() -> None:
    halves = FULL.coarser(2)
    assert halves == Sampling(2, 1.0)
    assert (halves.of(0), halves.of(10)) == (0, 5)
    assert Sampling(4, 0.5).coarser(2) == Sampling(8, 2.5)


def test_samples_and_means_of_one_slope_give_one_master() -> None:
    grey = (np.mgrid[:1300, :1600][1] * 40).astype(np.uint16)
    whole = shrink(grey)
    sampled = shrink(np.ascontiguousarray(grey[::2, ::2]), None, Sampling(2, 0.5), grey.shape)
    misplaced = shrink(np.ascontiguousarray(grey[::2, ::2]), None, Sampling(2, 1.0), grey.shape)
    inner = (slice(None), slice(8, -8))
    assert np.abs(whole[inner].astype(int) - sampled[inner]).max() <= 2
    assert np.abs(whole[inner].astype(int) - misplaced[inner]).min() >= 18
