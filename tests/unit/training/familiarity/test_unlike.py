from __future__ import annotations

import numpy as np
import pytest

from training.familiarity.packaged import photographs, scans
from training.familiarity.unlike import REPORTED, TUNING, Unlike, pictures

CHEST = (np.add.outer(np.arange(224), 2 * np.arange(224)) * 80).astype(np.uint16)


def test_choices_are_made_with_other_classes_than_are_reported() -> None:
    names = [kind.name for kind in (*TUNING, *REPORTED)]
    assert len(set(names)) == len(names)
    for part in ("legs", "hands", "lateral", "frontal", "inverted", "rotated 45", "quarter", "noise", "photographs"):
        assert any(part in kind.name for kind in REPORTED), part


@pytest.mark.parametrize("kind", [*TUNING, *REPORTED], ids=lambda kind: kind.name)
def test_every_class_makes_masters_that_depend_on_the_seed_alone(kind: Unlike) -> None:
    (first,), (again,) = pictures(kind, [CHEST], 1), pictures(kind, [CHEST], 1)
    assert first.dtype == np.uint16
    assert first.ndim == 2
    assert 0 < min(first.shape) <= max(first.shape) <= 512
    assert not np.array_equal(first, CHEST)
    np.testing.assert_array_equal(first, again)


def test_chests_are_lent_in_turn_and_never_changed() -> None:
    one, other = CHEST.copy(), (65535 - CHEST).astype(np.uint16)
    (inverted,) = (kind for kind in REPORTED if kind.name == "inverted")
    first, second, third = pictures(inverted, [one, other], 3)
    np.testing.assert_allclose(first, other, atol=1)
    np.testing.assert_allclose(second, one, atol=1)
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(one, CHEST)


def test_pictures_of_libraries_are_found_where_they_are_installed() -> None:
    assert len(photographs()) >= 1
    assert len(scans()) >= 8
    for picture in (*photographs(), *scans()):
        assert picture.dtype == np.float32
        assert 0 <= picture.min() < picture.max() <= 1
