"""A process that makes a bundle of more than it may hold: ``python -m tests.integration.bounded_training FOLDER``.

Prints what it did as JSON. All that may be written to in memory is bounded by the kernel (RLIMIT_DATA),
after a small build has loaded all libraries; files that are mapped to be read do not count.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from imaging.spec import PreprocessSpec
from tests.factories.bundles import make_key
from tests.factories.collections import published, write_folder
from tests.factories.networks import tiny
from training.bundling.build import Order, build
from training.datasets.dataset import open_dataset
from training.datasets.pixels import load_squares
from training.fitting.recipe import HardenedRecipe, Stage
from training.fitting.run import Epoch

# two megabytes an image
SPEC = PreprocessSpec(triangle_size=1024, input_size=32, channels=1, scale="standard")
ROOM = 192 << 20


@dataclass(frozen=True, slots=True)
class Large(HardenedRecipe):
    """Fits on squares that are larger than anybody needs."""

    @property
    def spec(self) -> PreprocessSpec:
        return SPEC


RECIPE = Large("tiny", (Stage(32, 1),), batch_size=16, averaging=0.5)


class Quiet:
    """Hears of a fit and says nothing."""

    def stage(self, name: str, total: int) -> Callable[[], None]:
        del name, total
        return lambda: None

    def epoch(self, epoch: Epoch) -> None:
        del epoch


def written() -> int:
    """Return how many bytes of memory this process may write to."""
    return 1024 * int(re.findall(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def made_of(folder: Path, pictures: Path, name: str) -> dict[str, int]:
    """Make a bundle, and return how many images were used for what."""
    order = Order(RECIPE, pictures, folder / name, name, "1", required_sensitivity=0.2)
    manifest, _ = build(order, make_key(), datetime(2026, 1, 2, tzinfo=UTC), Quiet())
    return {split: sum(counts.values()) for split, counts in manifest.data.images.items()}


def main(folder: Path) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    ARCHITECTURES["tiny"] = tiny
    few = write_folder(folder / "few", published(30, 50))
    many = write_folder(folder / "many", published(80, 130))
    made_of(folder, few, "of-few")
    limit = written() + ROOM
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with open_dataset(many) as dataset:
        try:
            load_squares(dataset, dataset.items[:200], SPEC)
            refused = False
        except MemoryError:
            refused = True
    images = made_of(folder, many, "of-many")
    sys.stdout.write(json.dumps({"in_memory_refused": refused, "images": images}))


if __name__ == "__main__":
    before_tensorflow()
    main(Path(sys.argv[1]))
