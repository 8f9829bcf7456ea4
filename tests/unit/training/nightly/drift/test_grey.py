from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.master import FULL_SCALE, master_path, save_master
from training.nightly.drift.grey import grey_levels, measure
from training.nightly.drift.result import Name


def test_a_master_by_hand() -> None:
    stripes = np.zeros((100, 100), np.uint16)
    stripes[:, 1::2] = FULL_SCALE
    # every step across is whole, every step down is none
    assert measure(stripes) == {Name.BRIGHTNESS: 0.5, Name.CONTRAST: 1.0, Name.SHARPNESS: pytest.approx(0.5)}
    dim = measure((stripes // 2).astype(np.uint16))
    assert dim[Name.CONTRAST] == pytest.approx(0.5, abs=1e-3)
    assert dim[Name.SHARPNESS] == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 4)])
def test_a_flat_master_is_measured_all_the_same(shape: tuple[int, int]) -> None:
    found = measure(np.full(shape, FULL_SCALE, np.uint16))
    assert found == {Name.BRIGHTNESS: 1.0, Name.CONTRAST: 0.0, Name.SHARPNESS: 0.0}


def test_the_same_few_are_measured_each_time_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    digests = sorted(save_master(tmp_path, rng.integers(0, FULL_SCALE, (4, 4)).astype(np.uint16)) for _ in range(6))
    patients = {digest: number for number, digest in enumerate(digests)}
    found = grey_levels(tmp_path, dict(reversed(patients.items())), 3)
    assert set(found) == {Name.BRIGHTNESS, Name.CONTRAST, Name.SHARPNESS}
    assert found[Name.BRIGHTNESS].patients.tolist() == [0, 1, 2]
    master_path(tmp_path, digests[0]).unlink()
    master_path(tmp_path, digests[2]).write_bytes(b"no picture")
    found = grey_levels(tmp_path, patients, 3)
    assert found[Name.BRIGHTNESS].patients.tolist() == [1, 3, 4]
    # not searched for without end
    for digest in digests[:4]:
        master_path(tmp_path, digest).unlink(missing_ok=True)
    assert grey_levels(tmp_path, patients, 3) == {}
    assert grey_levels(tmp_path, {}, 3) == {}
