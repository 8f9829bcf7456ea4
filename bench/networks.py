"""``python -m bench.networks``: what a network costs where it serves and while it is fitted, beside the notebook's.

One process and one thread of LiteRT, one network after the other, again and
again: whatever the machine does meanwhile it does to all of them. Weights are
fresh and inputs noise, on which neither time depends. With a GPU, fitting is
measured on it, and the section says on which.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import machine, report
from bench.figures import Spread, spread
from bundle.architectures.table import ARCHITECTURES
from bundle.litert import LiteRTRuntime
from bundle.tensorflow_settings import before_tensorflow
from training.bundling.convert import to_litert

ROOT: Final = Path(__file__).resolve().parents[1]
_DOCUMENT: Final = ROOT / "docs" / "performance.md"
_RAW: Final = ROOT / "docs" / "figures" / "networks.json"
_BESIDE: Final = "seed_regularised"
_CHAMPION: Final = "se_resnet"
_NETWORKS: Final = (_BESIDE, "seed_base", _CHAMPION)
_BATCH: Final = 32
_SERVED: Final = 64
_FITTED: Final = 4 * _BATCH
# how much slower than the notebook's the champion may serve
_BAR: Final = 3.5
_MOST_PARAMETERS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Turn:
    """What one network took once; milliseconds an image.

    Attributes
    ----------
    served : float
        LiteRT, one thread, one image at a time.
    fitted, fitted_processors : float
        A training step by Adam in batches of 32, and the processor time in it.
    """

    network: str
    side: int
    served: float
    fitted: float
    fitted_processors: float


class _Contender:
    """A network ready to serve and to be fitted."""

    def __init__(self, name: str) -> None:
        import keras  # noqa: PLC0415 - TensorFlow takes seconds; --help must not

        rng = np.random.default_rng(0)
        self._model: Any = ARCHITECTURES[name]()
        self.name, self.side = name, int(self._model.input_shape[1])
        self.parameters = int(self._model.count_params())
        self._images = rng.random((_BATCH, *self._model.input_shape[1:]), np.float32)
        self._labels = np.eye(2, dtype=np.float32)[rng.integers(0, 2, _BATCH)]
        self._runtime = LiteRTRuntime(to_litert(self._model), 1, 1, 2)
        self._model.compile(keras.optimizers.Adam(), keras.losses.CategoricalCrossentropy())
        self.turn()

    def turn(self) -> Turn:
        """Serve and fit for a moment."""
        served, _ = _took(lambda: self._runtime.predict(self._images), _SERVED // _BATCH)
        fitted, processors = _took(lambda: self._model.train_on_batch(self._images, self._labels), _FITTED // _BATCH)
        return Turn(self.name, self.side, served, fitted, processors)


def _took(act: Callable[[], object], times: int) -> tuple[float, float]:
    """Return milliseconds an image, and of processors, where each act is of one batch."""
    began, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        act()
    images = times * _BATCH
    return (time.perf_counter() - began) * 1e3 / images, (time.process_time() - used) * 1e3 / images


def section(turns: list[Turn], parameters: dict[str, int], devices: list[str], facts: dict[str, str]) -> str:
    """Return the document's section."""
    by_name = {name: [turn for turn in turns if turn.network == name] for name in _NETWORKS}

    def median(name: str, figure: str) -> float:
        return spread([getattr(turn, figure) for turn in by_name[name]]).median

    def ratios(name: str) -> Spread:
        return spread([mine.served / its.served for mine, its in zip(by_name[name], by_name[_BESIDE], strict=True)])

    rows = [
        (
            *(name, f"{parameters[name]:,}", str(own[0].side), f"{median(name, 'served'):.1f}"),
            f"{ratios(name).median:.2f} ({ratios(name).low:.2f} to {ratios(name).high:.2f})",
            *(f"{median(name, figure):.1f}" for figure in ("fitted", "fitted_processors")),
        )
        for name, own in by_name.items()
    ]
    header = ("network", "parameters", "pixels", "LiteRT, ms", "times the notebook's", "step, ms", "of processors, ms")
    champion = ratios(_CHAMPION)
    verdict = "met" if champion.median <= _BAR else "missed"
    where = ", ".join(f"{key} {value}" for key, value in facts.items())
    measured = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {where}; steps on {', '.join(devices)}. Medians of "
        f"{len(by_name[_CHAMPION])} turns, an image each."
    )
    bars = (
        f"The champion serves in {champion.median:.2f} times the notebook's time (bar: {_BAR}, {verdict}), with "
        f"{parameters[_CHAMPION]:,} parameters (bar: {_MOST_PARAMETERS:,})."
    )
    return "\n\n".join([measured, report.table(header, rows), bars])


def main() -> None:
    """Measure, and write the section and the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    before_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - as above

    facts = {key: value for key, value in machine.facts(ROOT).items() if key not in {"pynetdicom", "dcmtk", "Orthanc"}}
    contenders = [_Contender(name) for name in _NETWORKS]
    turns = [contender.turn() for _ in range(options.turns) for contender in contenders]
    details = tf.config.experimental.get_device_details
    gpus = [details(gpu).get("device_name", gpu.name) for gpu in tf.config.list_physical_devices("GPU")]
    parameters = {contender.name: contender.parameters for contender in contenders}
    text = section(turns, parameters, gpus or ["CPU"], facts)
    report.insert(_DOCUMENT, text, "bench-networks")
    _RAW.write_text(json.dumps({"machine": facts, "turns": [asdict(turn) for turn in turns]}, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
