"""Fitting on more than memory holds, on several devices, in half precision."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.architectures.table import ARCHITECTURES
from tests.factories.networks import tiny
from tests.integration.shared_batches import squares
from tests.limits import writing_at_most
from training.errors import FitFailed
from training.fitting.computing import PLAIN, Computing, Precision
from training.fitting.hardened import fit_hardened
from training.fitting.recipe import HardenedRecipe, Stage
from training.fitting.run import Epoch, Run

pytestmark = [
    pytest.mark.tensorflow,
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

ROOT = Path(__file__).parents[2]
RECIPE = HardenedRecipe("tiny", (Stage(32, 2),), batch_size=16, averaging=0.5)


class Interrupted(Exception):
    """Stands for a crash between two epochs."""


def answer(module: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.integration.{module}", str(folder)],
        cwd=ROOT,
        # one arena: glibc's, one for each thread, take room by chance
        env={**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_more_data_than_memory_becomes_a_bundle(tmp_path: Path) -> None:
    found = answer("bounded_training", tmp_path)
    assert found["in_memory_refused"]
    assert sum(found["images"].values()) == 210
    # 192 MB are allowed, and an image that is fitted on has 2 MB
    assert found["images"]["fit"] > 120


def test_two_devices_share_batches_and_come_to_the_same_weights(tmp_path: Path) -> None:
    found = answer("shared_batches", tmp_path)
    assert (found["shares"], found["precision"]) == (2, "float32")
    assert found["apart"] == {"hardened": pytest.approx(0, abs=1e-5), "plain": pytest.approx(0, abs=1e-5)}
    assert found["refusals"] == [
        "3 devices were asked for and 2 are there; lower --devices",
        "2 devices cannot share a batch of 15 images evenly; change --devices",
    ]


def fitted(folder: Path, computing: Computing, die_after: int | None = None) -> list[np.ndarray]:
    def report(epoch: Epoch) -> None:
        if epoch.number == die_after:
            raise Interrupted

    data = squares()
    run = Run.start_or_resume(folder, computing.fingerprint("f"))
    watch = data.finished(RECIPE.spec)
    network = fit_hardened(
        RECIPE, RECIPE.spec, run, computing.fingerprint("f"), data, watch, report=report, computing=computing
    )
    weights: list[np.ndarray] = network.get_weights()
    return weights


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)


@pytest.mark.usefixtures("_tiny")
def test_half_precision_goes_on_where_it_stopped_and_ends_in_float32(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415 - not for all who collect tests: TensorFlow takes seconds

    half = Computing(Precision.MIXED_FLOAT16)
    whole = fitted(tmp_path / "whole", half)
    with pytest.raises(Interrupted):
        fitted(tmp_path / "again", half, die_after=1)
    again = fitted(tmp_path / "again", half)
    plain = fitted(tmp_path / "plain", PLAIN)
    assert {weight.dtype for weight in whole} == {np.dtype(np.float32)}
    for one, other, full in zip(whole, again, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        np.testing.assert_allclose(one, full, atol=1e-2)
    assert any(not np.array_equal(one, full) for one, full in zip(whole, plain, strict=True))
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(FitFailed, match="another precision"):
        fitted(tmp_path / "again", PLAIN)


@pytest.mark.usefixtures("_tiny")
def test_an_epoch_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fitted(tmp_path / "run", PLAIN, die_after=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with writing_at_most(8192), pytest.raises(FitFailed, match=r"epoch 2 could not be written \(File too large\)"):
        fitted(tmp_path / "run", PLAIN)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_every_network_answers_in_float32_whatever_its_precision() -> None:
    with Computing(Precision.MIXED_FLOAT16).building():
        for name, build in ARCHITECTURES.items():
            network = build()
            assert (name, network.dtype_policy.name) == (name, "mixed_float16")
            assert (name, network.outputs[0].dtype) == (name, "float32")
