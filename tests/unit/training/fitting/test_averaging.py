from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.errors import FitFailed
from training.fitting.averaging import Average


class Variable:
    """What of a Keras variable is used."""

    def __init__(self, value: float) -> None:
        self.value: NDArray[np.float32] = np.full((2, 3), value, np.float32)

    def numpy(self) -> NDArray[np.float32]:
        return self.value

    def assign(self, value: NDArray[np.float32]) -> None:
        self.value = value.copy()


def averaged(average: Average) -> float:
    variable = Variable(0)
    average.put([variable])
    return float(variable.value[0, 0])


def test_it_forgets_the_start_and_then_follows_slowly() -> None:
    average = Average([np.zeros((2, 3), np.float32)], 0.99)
    for _ in range(2000):
        average.step([Variable(1)])
    assert averaged(average) == pytest.approx(1, abs=1e-4)
    average.step([Variable(2)])
    assert averaged(average) == pytest.approx(1.01, abs=1e-4)


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    average = Average([np.zeros((2, 3), np.float32)], 0.9)
    average.step([Variable(1)])
    average.write(tmp_path / "average.npz")
    again = Average.read(tmp_path / "average.npz", 0.9)
    assert (again.steps, averaged(again)) == (1, averaged(average))
    for one in (average, again):
        one.step([Variable(5)])
    assert averaged(again) == averaged(average)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04"])
def test_a_damaged_average_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "epoch-003.average.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FitFailed, match=r"epoch-003\.average\.npz is missing or damaged"):
        Average.read(path, 0.9)
