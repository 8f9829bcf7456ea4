from __future__ import annotations

import numpy as np
import pytest

from bundle.familiarity import describe
from imaging.spec import PreprocessSpec
from tests.factories.bundles import chest
from training.datasets.pixels import Examples
from training.familiarity.learning import _reached_by_few, _whitening, choose, fit, of_examples
from training.familiarity.noticing import false_alarms, notice, spaced
from training.familiarity.unlike import Unlike

SPEC = PreprocessSpec(input_size=64, channels=1, scale="standard", crop=0.05, clip=(1.0, 99.0))


def examples(count: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    planes = [SPEC.apply(chest(rng))[:, :, 0] for _ in range(count)]
    numbers = np.arange(count)
    return Examples(np.array(planes, np.float32).reshape(count, 64, 64), numbers % 2, numbers // 2, (None,) * count, 1)


def test_distances_are_in_units_of_the_spread() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((5000, 6)) @ rng.standard_normal((6, 6))
    values -= values.mean(axis=0)
    # the mean of a squared Mahalanobis distance is the number of dimensions
    assert ((values @ _whitening(values, 0.0)) ** 2).sum(axis=1).mean() == pytest.approx(6, rel=0.01)
    constant = np.hstack([values, np.zeros((len(values), 1))])
    assert np.isfinite(_whitening(constant, 0.1)).all()


def test_the_limit_is_exceeded_by_one_in_a_hundred() -> None:
    values = np.arange(1, 1000, dtype=np.float64)
    assert _reached_by_few(values) == 990
    # too few to leave one out
    assert _reached_by_few(np.array([3.0, 1.0, 2.0])) == 3.0


def test_the_threshold_keeps_false_alarms_on_other_patients_few() -> None:
    known = fit(of_examples(examples(150, 0)), of_examples(examples(60, 1)))
    validation, test = examples(120, 2), examples(120, 3)
    found = choose(known, validation, test)
    values = known.of(of_examples(validation).rows)
    assert np.mean(values >= found.threshold) <= 0.01
    assert (found.images, found.patients) == (120, 60)
    assert found.false_alarms["validation"].value == pytest.approx(np.mean(values >= found.threshold), abs=1e-5)
    assert found.false_alarms["test"].value < 0.1
    assert set(choose(known, validation, examples(0, 3)).false_alarms) == {"validation"}


def test_each_class_has_a_centre_of_its_own() -> None:
    fitted = of_examples(examples(80, 0))
    for name, spread in fit(fitted, of_examples(examples(40, 1))).spreads.items():
        own = np.stack([row[name] for row in fitted.rows])[fitted.labels == 1].mean(axis=0)
        assert len(spread.centres) == 2
        np.testing.assert_allclose(spread.centres[1], own, rtol=1e-3, atol=1e-4)


def test_false_alarms_count_what_is_no_number() -> None:
    found = false_alarms(np.array([0.5, 2.0, np.nan, 0.1]), np.array([0, 0, 1, 2]), 1.0)
    assert found.value == 0.5
    assert found.low <= 0.5 <= found.high


def test_what_is_noticed_is_counted_class_by_class() -> None:
    known = fit(of_examples(examples(150, 0)), of_examples(examples(60, 1)))
    rng = np.random.default_rng(9)
    kinds = (
        Unlike("unchanged", lambda chest, _rng: chest),
        Unlike("turned", lambda chest, _rng: np.rot90(chest).copy()),
        Unlike("parts", lambda chest, _rng: chest, sources=lambda: 1),
        Unlike("of what is not installed", lambda chest, _rng: chest, sources=lambda: 0),
    )
    steps: list[int] = []
    chests = [chest(rng) for _ in range(4)]
    found = notice(known, SPEC, 1.5, chests, 6, kinds, advance=lambda: steps.append(1))
    assert (found["turned"].n, found["turned"].unfamiliar) == (6, 6)
    assert found["unchanged"].unfamiliar < 6
    # crops of one picture are one picture
    assert {name: one.sources for name, one in found.items()} == {"unchanged": None, "turned": None, "parts": 1}
    assert len(steps) == 18


def test_lenders_come_from_everywhere() -> None:
    assert spaced(list(range(100)), 3) == [0, 50, 99]
    assert spaced([1, 2], 5) == [1, 2]
    assert spaced([], 5) == []


def test_descriptions_of_examples_are_those_of_their_inputs() -> None:
    found = examples(2, 0)
    for name, values in of_examples(found).rows[1].items():
        np.testing.assert_array_equal(values, describe(found.inputs(slice(1, 2))[0])[name])
