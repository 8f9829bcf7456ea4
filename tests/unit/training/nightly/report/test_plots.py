from __future__ import annotations

import re

import numpy as np

from training.examination.metrics import Scored
from training.nightly.report.night import Role
from training.nightly.report.plots import roc


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
