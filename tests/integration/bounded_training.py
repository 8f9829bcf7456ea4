"""A process that fits on more image data than it may hold: ``python -m tests.integration.bounded_training FOLDER``.

Prints what it did as JSON. All that may be written to in memory is bounded by the kernel (RLIMIT_DATA),
after a small fit has loaded all libraries; files that are mapped to be read do not count.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path
from typing import Any

from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from imaging.spec import PreprocessSpec
from tests.factories.collections import published, write_folder
from tests.factories.networks import tiny
from training.datasets.dataset import open_dataset
from training.datasets.pixels import Kept, load_squares
from training.fitting.hardened import fit_hardened
from training.fitting.recipe import HardenedRecipe, Stage
from training.fitting.run import Run

# two megabytes an image
SPEC = PreprocessSpec(triangle_size=1024, input_size=32, channels=1, scale="standard")
RECIPE = HardenedRecipe("tiny", (Stage(32, 1),), batch_size=16, averaging=0.5)
ROOM = 192 << 20


def written() -> int:
    """Return how many bytes of memory this process may write to."""
    return 1024 * int(re.findall(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def fit(folder: Path, pictures: Path, name: str) -> Any:
    with open_dataset(pictures) as dataset:
        squares = load_squares(dataset, dataset.items, SPEC, kept=Kept(folder / "images", name))
        run = Run.start_or_resume(folder / f"run-{name}", "f")
        watch = load_squares(dataset, dataset.items[:4] + dataset.items[-4:], SPEC).finished(SPEC)
        fit_hardened(RECIPE, SPEC, run, "f", squares, watch)
    return squares


def main(folder: Path) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    ARCHITECTURES["tiny"] = tiny
    few = write_folder(folder / "few", published(16, 16))
    many = write_folder(folder / "many", published(70, 130))
    fit(folder, few, "few")
    limit = written() + ROOM
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with open_dataset(many) as dataset:
        try:
            load_squares(dataset, dataset.items, SPEC)
            refused = False
        except MemoryError:
            refused = True
    squares = fit(folder, many, "many")
    sys.stdout.write(json.dumps({"in_memory_refused": refused, "fitted": len(squares), "bytes": squares.planes.nbytes}))


if __name__ == "__main__":
    before_tensorflow()
    main(Path(sys.argv[1]))
