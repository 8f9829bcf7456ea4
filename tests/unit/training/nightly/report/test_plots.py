from __future__ import annotations

import re

import numpy as np
import pytest

from db.vocabulary import ImageClass
from training.examination.metrics import Scored
from training.nightly.report.night import Role
from training.nightly.report.plots import counts, roc


def test_a_large_test_set_makes_no_large_drawing() -> None:
    rng = np.random.default_rng(0)
    count = 20_000
    labels = np.arange(count) % 2
    scores = 1 / (1 + np.exp(-(rng.normal(size=count) + labels)))
    scored = Scored(labels, scores, scores, np.arange(count))
    drawn = roc({"frozen test set": {Role.CHAMPION: (scored, 0.5)}})
    assert len(drawn) < 200_000
    # and yet the curve is whole: it begins at one corner and ends at the other
    curve = max(re.findall(r'<path d="([^"]+)" clip-path', drawn), key=len)
    places = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", curve)]
    xs, ys = zip(*places, strict=True)
    assert places[0] == (min(xs), max(ys))
    assert places[-1] == (max(xs), min(ys))
    assert len(places) > 1000


def test_bars_are_as_long_as_their_counts_one_after_the_other_and_told_apart_by_hatching() -> None:
    drawn = counts({"sides": {"FIT": {ImageClass.NORMAL: 100, ImageClass.PNEUMONIA: 300}}, "none": {}})
    bars = re.findall(r'<path d="([^"]+)" clip-path[^>]*style="fill: (none|url[^;]+); stroke: #', drawn)
    left, right = (sorted({float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)}) for path, _ in bars)
    assert (right[1] - right[0]) / (left[1] - left[0]) == pytest.approx(3, abs=1e-3)
    assert right[0] == pytest.approx(left[1], abs=1e-3)
    assert [fill != "none" for _, fill in bars] == [False, True]
    assert (">sides</text>" in drawn, ">none</text>" in drawn) == (True, False)
