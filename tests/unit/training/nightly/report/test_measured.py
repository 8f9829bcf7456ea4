from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bundle.manifest import Interval
from tests.factories.nights import night
from training.examination.metrics import Scored, intervals
from training.nightly.gate.exam import Answers, FrozenTest
from training.nightly.gate.redrawn import Figure
from training.nightly.report.measured import FIGURES, Calls, Measures, measure
from training.nightly.report.night import Examined, Role

FEW = 60


def examined(scores: list[float], labels: list[int], **roles: list[float]) -> Examined:
    pictures = FrozenTest(np.array(labels, np.int64), tuple(f"p{row // 2}" for row in range(len(labels))))
    said = {"champion": scores, **roles}
    return Examined(
        pictures,
        {Role(role): Answers(role, 0.5, np.array(some), np.array(some)) for role, some in said.items()},
    )


@pytest.fixture(scope="module")
def whole() -> Measures:
    found = night(thumbnails=False).test
    assert found is not None
    return measure(found, FEW)


def test_calls_are_counted_by_class_and_those_without_a_number_apart() -> None:
    found = measure(examined([0.9, 0.5, 0.1, np.nan, 0.7, 0.2, np.nan], [1, 1, 1, 1, 0, 0, 0]), FEW)
    champion = found.models[Role.CHAMPION]
    assert (champion.ill, champion.well) == (Calls(2, 1, 1), Calls(1, 1, 1))
    assert champion.problem == "2 of its scores are no number from 0 to 1"
    assert champion.figures == {}
    assert (found.images, found.patients, found.ill_images, found.ill_patients) == (7, 4, 4, 2)


def test_figures_are_those_that_evaluate_gives(whole: Measures) -> None:
    given = night(thumbnails=False).test
    assert given is not None
    said, pictures = given.answers[Role.CHAMPION], given.pictures
    scored = Scored(pictures.labels, said.scores, said.probabilities, pictures.numbers)
    assert whole.models[Role.CHAMPION].figures == intervals(scored, said.threshold, FIGURES, FEW)


def test_figures_that_were_measured_before_are_taken() -> None:
    given = examined([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0])
    before = {"auc": Interval(value=0.5, low=0.4, high=0.6)}
    assert measure(replace(given, figures={Role.CHAMPION: before}), FEW).models[Role.CHAMPION].figures == before


def test_gains_are_paired_the_challenger_less_the_champion(whole: Measures) -> None:
    everybody = whole.groups["all"]
    # the same calls on every picture: paired there is no difference in any resample
    assert everybody.gains[Figure.SENSITIVITY] == Interval(value=0.0, low=0.0, high=0.0)
    mine, theirs = (everybody.figures[role][Figure.SPECIFICITY] for role in (Role.CHALLENGER, Role.ANCHOR))
    assert mine.value is not None
    assert theirs.value is not None
    assert mine.value < theirs.value


def test_a_gain_is_above_nothing_where_the_challenger_is_better() -> None:
    found = measure(examined([0.9, 0.2, 0.2, 0.1], [1, 1, 0, 0], challenger=[0.9, 0.8, 0.2, 0.6]), FEW)
    gains = found.groups["all"].gains
    assert (gains[Figure.SENSITIVITY].value, gains[Figure.SPECIFICITY].value) == (0.5, -0.5)


def test_subgroups_are_counted_and_an_empty_one_is_left_out(whole: Measures) -> None:
    assert list(whole.groups) == ["all", "sex: F", "sex: M"]
    female, male = whole.groups["sex: F"], whole.groups["sex: M"]
    assert (female.ill + male.ill, female.well + male.well) == (whole.ill_images, whole.images - whole.ill_images)
    value = female.figures[Role.CHAMPION][Figure.SENSITIVITY]
    given = night(thumbnails=False).test
    assert given is not None
    own = given.pictures.subgroups["sex: F"] & given.pictures.ill
    assert value.value == pytest.approx((given.answers[Role.CHAMPION].scores[own] >= 0.5).mean(), abs=1e-5)
    assert not female.few


def test_a_subgroup_of_few_patients_is_marked() -> None:
    given = examined([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0])
    pictures = replace(given.pictures, subgroups={"view: PA": np.array([True, False, True, False])})
    assert measure(replace(given, pictures=pictures), FEW).groups["view: PA"].few


def test_of_one_class_alone_what_can_be_measured_is() -> None:
    found = measure(examined([0.9, 0.8, 0.2], [1, 1, 1]), FEW)
    champion = found.models[Role.CHAMPION]
    assert champion.figures["sensitivity"].value == pytest.approx(2 / 3, abs=1e-5)
    assert champion.figures["auc"].value is None
    assert found.groups == {}


def test_of_no_picture_at_all_nothing_is_measured() -> None:
    found = measure(examined([], []), FEW)
    assert (found.images, found.groups) == (0, {})
    assert found.models[Role.CHAMPION].problem == "there are no pictures"


def test_a_label_that_is_neither_is_said() -> None:
    assert measure(examined([0.9, 0.1], [1, 2]), FEW).models[Role.CHAMPION].problem == "some labels are neither 0 nor 1"


def test_an_anchor_that_is_the_champion_is_not_shown_twice() -> None:
    given = examined([0.9, 0.1], [1, 0], anchor=[0.9, 0.1])
    assert list(measure(given, FEW).models) == [Role.CHAMPION, Role.ANCHOR]
    same = {**given.answers, Role.ANCHOR: given.answers[Role.CHAMPION]}
    assert list(measure(replace(given, answers=same), FEW).models) == [Role.CHAMPION]


def test_models_come_in_the_order_of_their_roles(whole: Measures) -> None:
    assert list(whole.models) == list(Role)


def test_a_model_without_numbers_does_not_hide_the_others() -> None:
    found = measure(examined([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], challenger=[np.nan, 0.8, 0.2, 0.1]), FEW)
    assert found.models[Role.CHALLENGER].problem is not None
    assert found.models[Role.CHAMPION].figures["auc"].value == 1
    assert found.groups["all"].gains == {}
