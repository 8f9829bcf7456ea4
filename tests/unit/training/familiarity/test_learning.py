from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bundle.familiarity import describe
from imaging.spec import PreprocessSpec
from tests.factories.bundles import chest
from training.datasets.pixels import Examples, Squares
from training.familiarity.learning import (
    Descriptions,
    _reached_by_few,
    _whitening,
    choose,
    fit,
    of_examples,
    of_squares,
)
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
    whitening = _whitening(values.T @ values / 5000, 0.0)
    assert ((values @ whitening) ** 2).sum(axis=1).mean() == pytest.approx(6, rel=0.01)
    constant = np.hstack([values, np.zeros((len(values), 1))])
    assert np.isfinite(_whitening(constant.T @ constant / 5000, 0.1)).all()


def described(count: int, seed: int) -> Descriptions:
    """Draw descriptions that no image need have."""
    rng = np.random.default_rng(seed)
    values = {
        name: (1000 + rng.standard_normal((count, size)) @ rng.standard_normal((size, size))).astype(np.float32)
        for name, size in (("layout", 256), ("edges", 200), ("detail", 9))
    }
    return Descriptions(values, np.arange(count) % 2, np.arange(count))


def test_the_spread_is_that_of_all_images_at_once() -> None:
    fitted, held_out = described(2500, 0), described(300, 1)
    known = fit(fitted, held_out)
    for name, shrinkage in (("layout", 0.5), ("edges", 0.5), ("detail", 0.01)):
        # written out in 64 bits for all rows together
        values = fitted.values[name].astype(np.float64)
        centres = np.stack([values[label::2].mean(axis=0) for label in (0, 1)])
        correlation = np.corrcoef((values - centres[fitted.labels]).T)
        deviation = (values - centres[fitted.labels]).std(axis=0)
        mixed = (1 - shrinkage) * correlation + shrinkage * np.eye(len(deviation))
        inverse = np.linalg.inv(mixed) / np.outer(deviation, deviation)
        apart = held_out.values[name] - centres[:, np.newaxis]
        nearest = np.sqrt(np.einsum("cni,ij,cnj->cn", apart, inverse, apart)).min(axis=0)
        limit = np.sort(nearest)[297]
        np.testing.assert_allclose(known.spreads[name].distance(held_out.values[name]), nearest / limit, rtol=2e-4)


def test_learning_takes_little_beside_what_it_learns_from() -> None:
    fitted, held_out = described(8000, 0), described(100, 1)
    tracemalloc.start()
    try:
        fit(fitted, held_out)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < sum(values.nbytes for values in fitted.values.values())


def test_describing_takes_little_beside_the_descriptions() -> None:
    planes = np.broadcast_to(examples(1, 0).planes[0], (1500, 64, 64))
    many = Examples(planes, np.arange(1500) % 2, np.arange(1500), (None,) * 1500, 1)
    tracemalloc.start()
    try:
        found = of_examples(many)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    whole = sum(values.nbytes for values in found.values.values())
    assert whole == 1500 * 465 * 4
    # what one image takes on its way is about half a megabyte
    assert most < whole + (1 << 20)


def test_squares_are_described_as_the_network_sees_them() -> None:
    rng = np.random.default_rng(4)
    masters = [chest(rng) for _ in range(6)]
    planes = np.stack([np.rint(SPEC.square(master)) for master in masters]).astype(np.uint16)
    squares = Squares(planes, np.arange(6) % 2, np.arange(6), (None,) * 6)
    steps: list[int] = []
    found = of_squares(squares, SPEC, advance=lambda: steps.append(1))
    assert len(steps) == 6
    for row, master in enumerate(masters):
        for name, value in describe(SPEC.apply(master)).items():
            np.testing.assert_allclose(found.values[name][row], value, atol=2e-3)


def test_the_limit_is_exceeded_by_one_in_a_hundred() -> None:
    values = np.arange(1, 1000, dtype=np.float64)
    assert _reached_by_few(values) == 990
    # too few to leave one out
    assert _reached_by_few(np.array([3.0, 1.0, 2.0])) == 3.0


def test_the_threshold_keeps_false_alarms_on_other_patients_few() -> None:
    known = fit(of_examples(examples(150, 0)), of_examples(examples(60, 1)))
    validation, test = examples(120, 2), examples(120, 3)
    found = choose(known, validation, test)
    values = known.of(of_examples(validation).values)
    assert np.mean(values >= found.threshold) <= 0.01
    assert (found.images, found.patients) == (120, 60)
    assert found.false_alarms["validation"].value == pytest.approx(np.mean(values >= found.threshold), abs=1e-5)
    assert found.false_alarms["test"].value < 0.1
    assert set(choose(known, validation, examples(0, 3)).false_alarms) == {"validation"}


def test_each_class_has_a_centre_of_its_own() -> None:
    fitted = of_examples(examples(80, 0))
    for name, spread in fit(fitted, of_examples(examples(40, 1))).spreads.items():
        own = fitted.values[name][fitted.labels == 1].mean(axis=0)
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
    for name, values in of_examples(found).values.items():
        np.testing.assert_array_equal(values[1], describe(found.inputs(slice(1, 2))[0])[name])
