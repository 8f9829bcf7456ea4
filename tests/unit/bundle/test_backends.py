from __future__ import annotations

from typing import Any

import pytest

from bundle.backends import check_number, take_gpu
from bundle.keras import batch_sizes
from bundle.runtime import KerasOptions
from core.errors import Misconfigured
from core.settings import Settings

GPUS = ["first", "second"]


class Config:
    """Stands for ``tensorflow.config`` on a machine with GPUs, and remembers what it was told."""

    def __init__(self, gpus: list[str], *, computed: bool = False) -> None:
        self.gpus = gpus
        self.computed = computed
        self.told: list[tuple[Any, ...]] = []
        self.experimental = self

    def list_physical_devices(self, kind: str) -> list[str]:
        return list(self.gpus) if kind == "GPU" else ["cpu"]

    def LogicalDeviceConfiguration(self, memory_limit: int) -> int:  # noqa: N802 - TensorFlow's name
        return memory_limit

    def set_visible_devices(self, *arguments: Any) -> None:
        self._told("visible", *arguments)

    def set_memory_growth(self, *arguments: Any) -> None:
        self._told("growth", *arguments)

    def set_logical_device_configuration(self, *arguments: Any) -> None:
        self._told("cap", *arguments)

    def _told(self, *what: Any) -> None:
        if self.computed:
            message = "Physical devices cannot be modified after being initialized"
            raise RuntimeError(message)
        self.told.append(what)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (KerasOptions(), [("growth", "first", True), ("growth", "second", True)]),
        (KerasOptions(gpu=1), [("visible", ["second"], "GPU"), ("growth", "second", True)]),
        (KerasOptions(memory_bytes=3 << 30), [("cap", "first", [3072]), ("cap", "second", [3072])]),
        (KerasOptions(gpu=0, memory_bytes=1 << 30), [("visible", ["first"], "GPU"), ("cap", "first", [1024])]),
    ],
)
def test_tensorflow_takes_the_gpu_and_the_memory_it_may(options: KerasOptions, told: list[tuple[Any, ...]]) -> None:
    config = Config(GPUS)
    assert take_gpu(config, options)
    assert config.told == told


def test_without_a_gpu_nothing_is_told() -> None:
    config = Config([])
    assert not take_gpu(config, KerasOptions(memory_bytes=1 << 30))
    assert config.told == []


def test_a_process_that_has_computed_keeps_what_it_has() -> None:
    assert take_gpu(Config(GPUS, computed=True), KerasOptions())


def test_a_gpu_that_is_not_there_is_refused_with_what_to_change() -> None:
    for gpu, gpus in ((2, GPUS), (0, [])):
        with pytest.raises(Misconfigured, match=rf"LUNGWATCH_GPU is {gpu}, but Keras sees {len(gpus)} GPUs"):
            take_gpu(Config(gpus), KerasOptions(gpu=gpu))
    check_number(1, 2)


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (8, (1, 2, 4, 8)), (33, (1, 2, 4, 8, 16, 32, 33))]
)
def test_batches_have_few_sizes(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes


def test_settings_say_what_keras_computes_with() -> None:
    settings = Settings(inference_batch=4, gpu="1", gpu_memory_bytes=1 << 30, inference_xla=True)
    assert KerasOptions.from_settings(settings) == KerasOptions(4, 1, 1 << 30, xla=True)
    assert KerasOptions.from_settings(Settings(gpu="", gpu_memory_bytes="")) == KerasOptions()
