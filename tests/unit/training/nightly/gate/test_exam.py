from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.factories.exams import exam


def test_arrays_of_other_images_are_a_mistake_and_no_decision() -> None:
    given = exam(10)
    with pytest.raises(ValueError, match="challenger's scores: 19 values for 20 labels"):
        replace(given, challenger=replace(given.challenger, scores=given.challenger.scores[:-1]))
    with pytest.raises(ValueError, match="patients: 19 values"):
        replace(given, test=replace(given.test, patients=given.test.patients[1:]))
    with pytest.raises(ValueError, match="subgroup x: 1 values"):
        replace(given, test=replace(given.test, subgroups={"x": np.array([True])}))
    with pytest.raises(ValueError, match="answered differently"):
        replace(given, anchor=replace(given.champion, scores=given.champion.scores[::-1]))


def test_the_seed_belongs_to_night_models_and_test() -> None:
    given = exam(10)
    others = (
        replace(given, night=given.night + timedelta(1)),
        replace(given, challenger=replace(given.challenger, digest="another")),
        replace(given, anchor=replace(given.champion, digest="another")),
        exam(11),
    )
    assert exam(10).seed() == given.seed()
    assert len({given.seed(), *(other.seed() for other in others)}) == 5
