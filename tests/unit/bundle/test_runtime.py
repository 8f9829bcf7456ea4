from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bundle.runtime import check_inputs, choose, gpu_is_visible
from core.settings import RuntimeChoice


@pytest.mark.parametrize("node", ["nvidia0", "nvidia11", "dxg"])
def test_a_gpu_shows_as_a_device_node(tmp_path: Path, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not gpu_is_visible(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not gpu_is_visible(tmp_path)
    (tmp_path / node).touch()
    assert gpu_is_visible(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not gpu_is_visible(tmp_path)


def test_an_explicit_choice_is_obeyed() -> None:
    assert choose(RuntimeChoice.LITERT) is RuntimeChoice.LITERT
    assert choose(RuntimeChoice.KERAS) is RuntimeChoice.KERAS


def test_auto_takes_litert_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose(RuntimeChoice.AUTO) is RuntimeChoice.LITERT


@pytest.mark.parametrize(
    "inputs",
    [np.zeros((1, 2, 2, 3), np.float64), np.zeros((2, 2, 3), np.float32), np.zeros((1, 2, 3, 3), np.float32)],
)
def test_inputs_of_another_form_are_refused(inputs: np.ndarray) -> None:
    check_inputs(np.zeros((0, 2, 2, 3), np.float32), (2, 2, 3))
    with pytest.raises(ValueError, match="float32 of shape"):
        check_inputs(inputs, (2, 2, 3))
