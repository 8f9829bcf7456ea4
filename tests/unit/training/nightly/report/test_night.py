from __future__ import annotations

import numpy as np
import pytest

from training.nightly.gate.exam import Answers, FrozenTest
from training.nightly.report.night import DriftPanel, Examined, Role


def test_answers_of_other_pictures_are_refused() -> None:
    pictures = FrozenTest(np.array([0, 1]), ("a", "b"))
    said = Answers("digest", 0.5, np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="champion's scores: 3 values for 2 labels"):
        Examined(pictures, {Role.CHAMPION: said})


@pytest.mark.parametrize(
    ("edges", "categories", "reference", "recent"),
    [((0, 1, 2), (), (0.5, 0.5), (1.0,)), ((0, 1), (), (0.5, 0.5), (0.5, 0.5)), ((), ("a",), (), ())],
)
def test_a_panel_of_drift_has_a_share_for_each_bin_of_either_period(
    edges: tuple[float, ...], categories: tuple[str, ...], reference: tuple[float, ...], recent: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="drift of score"):
        DriftPanel("score", "NONE", "", edges, categories, reference, recent)
