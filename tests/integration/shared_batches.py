"""A process that fits on one and on two devices: ``python -m tests.integration.shared_batches FOLDER``.

The one CPU is made two devices, which TensorFlow only allows before it computes anything. Prints as
JSON, for each kind of fit, the largest difference between the weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from tests.factories.networks import tiny
from training.datasets.dataset import Item
from training.datasets.pixels import Squares
from training.errors import FitFailed
from training.fitting.computing import PLAIN, Computing, Precision, choose
from training.fitting.fit import fit
from training.fitting.hardened import fit_hardened
from training.fitting.recipe import HardenedRecipe, Recipe, Stage
from training.fitting.run import Run

COUNT = 37


def squares() -> Squares:
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    planes = rng.integers(0, 60_000, (COUNT, 32, 32)).astype(np.uint16)
    planes[labels == 1, 16:] //= 2
    items = [
        Item(f"{row}", f"{row}.jpeg", ("NORMAL", "PNEUMONIA")[label], None, f"{row}", None)
        for row, label in enumerate(labels)
    ]
    return Squares(planes, labels, np.arange(COUNT), tuple(items))


def undropped(size: int | None = 32) -> Any:
    """Build the network without dropout, of which each device has its own."""
    network = tiny(size)
    network.layers[-2].rate = 0.0
    return network


def main(folder: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415 - hushed first

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    ARCHITECTURES["tiny"] = undropped
    hardened = HardenedRecipe("tiny", (Stage(32, 2),), batch_size=16, averaging=0.5)
    # the last batch is one image, fewer than there are devices
    plain = Recipe("tiny", epochs=2, batch_size=12)
    data = squares()
    whole = data.finished(hardened.spec)
    fits: dict[str, Callable[[Run, Computing], Any]] = {
        "hardened": lambda run, on: fit_hardened(hardened, hardened.spec, run, "f", data, whole, computing=on),
        "plain": lambda run, on: fit(plain, run, "f", whole, whole, computing=on),
    }
    two = choose(Precision.AUTO, 2, 12)
    found = {}
    for name, fitted in fits.items():
        one, other = (
            fitted(Run.start_or_resume(folder / f"{name}-{on.shares}", "f"), on).get_weights() for on in (PLAIN, two)
        )
        found[name] = max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
    refusals = []
    for devices, batch in ((3, 12), (2, 15)):
        try:
            choose(Precision.FLOAT32, devices, batch)
        except FitFailed as error:
            refusals.append(str(error))
    answer = {"shares": two.shares, "precision": two.precision, "apart": found, "refusals": refusals}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    before_tensorflow()
    main(Path(sys.argv[1]))
