from __future__ import annotations

from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from core.settings import Settings
from tests.tools.drift_simulation import NONE, Change, some_days
from training.nightly.drift.compare import compare, gravest
from training.nightly.drift.result import OF_MODEL, Drift, Level, Measure, Name, Statistic
from training.nightly.drift.rules import Rules, rules_of
from training.nightly.drift.sizes import Sample

RULES = rules_of(Settings())
REFERENCE = some_days(np.random.default_rng(1), 2000)


def recent(change: Change = NONE, patients: int = 1000) -> dict[Name, Sample]:
    return some_days(np.random.default_rng(2), patients, change)


def found(now: dict[Name, Sample], rules: Rules = RULES, before: dict[Name, Sample] = REFERENCE) -> dict[Name, Measure]:
    return {measure.name: measure for measure in compare(before, now, rules)}


def test_without_drift_nothing_is_told_and_every_measure_is_there() -> None:
    measures = found(recent())
    assert list(measures) == list(Name)
    # of a thousand patients ten are read blind
    untold = {name for name, one in measures.items() if one.level is Level.UNTOLD}
    assert untold == {Name.CONFIRMED_BLIND, Name.CLEARED_BLIND, Name.CLEARED}
    assert {one.level for name, one in measures.items() if name not in untold} == {Level.NONE}
    assert gravest(tuple(measures.values())) is Level.NONE


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        (Change(shift=0.4), Name.SCORE, Level.NOTICE),
        (Change(shift=0.4), Name.SCORE_DISTANCE, Level.NOTICE),
        (Change(shift=0.8), Name.SCORE, Level.STRONG),
        (Change(shift=0.8), Name.SCORE_DISTANCE, Level.STRONG),
        (Change(shift=-0.8), Name.UNFAMILIARITY, Level.STRONG),
        (Change(shift=0.9), Name.BRIGHTNESS, Level.STRONG),
        (Change(flagged=0.2), Name.FLAGGED, Level.NOTICE),
        (Change(flagged=0.4), Name.FLAGGED, Level.STRONG),
        (Change(flagged=0.01), Name.FLAGGED, Level.NOTICE),
        (Change(device=0.08), Name.DEVICE, Level.NOTICE),
        (Change(device=0.3), Name.DEVICE, Level.STRONG),
    ],
)
def test_a_change_is_told_by_the_measure_that_is_about_it(change: Change, name: Name, level: Level) -> None:
    measures = found(recent(change))
    assert measures[name].level is level
    assert measures[Name.SCOPE].level is Level.NONE
    one = measures[name]
    assert one.value is not None
    assert one.notice is not None
    assert one.strong is not None
    size = abs(one.value)
    assert size >= (one.strong if level is Level.STRONG else one.notice)


def test_slow_drift_shows_against_fixed_weeks_and_not_against_the_month_before() -> None:
    months = [some_days(np.random.default_rng(10 + month), 2000, Change(shift=0.15 * month)) for month in range(6)]
    steps = [found(now, before=before)[Name.SCORE].level for before, now in pairwise(months)]
    assert set(steps) == {Level.NONE}
    assert found(months[5], before=months[0])[Name.SCORE].level is Level.STRONG


def test_too_few_are_told_apart_from_no_drift_and_a_gross_change_shows_all_the_same() -> None:
    few = found(recent(patients=60))
    assert few[Name.SCORE].level is Level.UNTOLD
    assert few[Name.SCORE].value is not None
    assert "too few to tell" in few[Name.SCORE].words
    assert found(recent(Change(shift=2.5), patients=60))[Name.SCORE].level is Level.STRONG
    # and of a handful nothing is said at all
    assert found(recent(Change(shift=2.5), patients=20))[Name.SCORE].level is Level.UNTOLD


def test_many_images_of_few_patients_are_few() -> None:
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(25), 40)
    values = np.repeat(rng.normal(0.6, 1, 25), 40)
    one = found({Name.SCORE: Sample(values, patients)})[Name.SCORE]
    assert (one.recent_count, one.recent_worth, one.level) == (1000, 25, Level.UNTOLD)
    spread = Sample(values, np.arange(1000))
    assert found({Name.SCORE: spread})[Name.SCORE].level is Level.STRONG


def test_what_is_missing_is_untold_and_the_words_say_whose_answers_it_would_take() -> None:
    measures = found({})
    assert {one.level for one in measures.values()} == {Level.UNTOLD}
    assert gravest(tuple(measures.values())) is Level.UNTOLD
    for name, one in measures.items():
        assert ("the model in service" in one.words) == (name in OF_MODEL)
        assert one.value is None
    assert "the reference has nothing" in found(recent(), before={})[Name.DEVICE].words


def test_a_plot_has_what_it_needs() -> None:
    for one in found(recent(Change(device=0.1))).values():
        if one.statistic is Statistic.KS or one.level is Level.UNTOLD:
            continue
        assert sum(one.reference_shares) == pytest.approx(1, abs=1e-3)
        assert sum(one.recent_shares) == pytest.approx(1, abs=1e-3)
        if one.edges is not None:
            assert len(one.edges) == len(one.reference_shares) + 1
            assert list(one.edges) == sorted(one.edges)
        else:
            assert one.categories is not None
            assert len(one.categories) == len(one.reference_shares) == len(one.recent_shares)


def test_rare_categories_count_together_and_a_new_one_is_named() -> None:
    rng = np.random.default_rng(4)

    def mix(names: list[str]) -> dict[Name, Sample]:
        return {Name.DEVICE: Sample(np.array(names, object), np.arange(len(names)))}

    many = [f"maker {number:02d}" for number in rng.integers(0, 30, 3000)]
    one = found(mix([*many[:1500], *["NEW"] * 1000]), before=mix(many))[Name.DEVICE]
    assert one.categories is not None
    assert one.categories[0] == "NEW"
    assert (len(one.categories), one.categories[-1]) == (13, "(others)")
    assert one.level is Level.STRONG
    assert "most changed is" in one.words
    assert sum(one.recent_shares) == pytest.approx(1, abs=1e-3)


def test_one_value_alone_is_no_drift_and_another_one_is() -> None:
    def same(value: float) -> dict[Name, Sample]:
        return {Name.SCORE: Sample(np.full(500, value), np.arange(500))}

    assert found(same(0.5), before=same(0.5))[Name.SCORE].level is Level.NONE
    for value in (0.2, 0.7):
        one = found(same(value), before=same(0.5))[Name.SCORE]
        assert one.edges is not None
        assert list(one.edges) == sorted(one.edges)
        assert one.level is Level.STRONG


def test_it_is_kept_as_json_and_read_back() -> None:
    measures = compare(REFERENCE, recent(Change(shift=0.8)), RULES)
    drift = Drift(
        today=date(2026, 3, 1), level=gravest(measures), blocks=True, words="...", measures=measures, rules=RULES
    )
    assert Drift.from_json(drift.to_json()) == drift
    assert {one.name for one in drift.of(Level.STRONG)} >= {Name.SCORE, Name.SCORE_DISTANCE}
    with pytest.raises(ValueError, match="level"):
        Drift.from_json(drift.to_json().replace('"STRONG"', '"NAN"'))
