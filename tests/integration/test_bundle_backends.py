"""The same networks with the same weights on other backends of Keras, which nobody has to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.integration.worker_process import ROOT


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_starter_scores_the_same_on_another_backend(backend: str) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; it is no requirement")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.other_backend"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["runtime"] == f"keras-{backend}"
    assert not found["tensorflow"]
    assert found["scores"] <= 1e-5
    assert found["features"] <= 1e-5
