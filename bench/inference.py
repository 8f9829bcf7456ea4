"""Batch inference on both runtimes, each in a process of its own that is told by standard input how many go at once.

``python -m bench.inference WAY`` loads the starter bundle, scores one image, says so, and answers each line, a batch
size, by a line of JSON: an `Inference`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from bench import machine, processes, report
from bench.bars import Bar
from bench.inference_report import BATCHES, Inference, Inferences, Start, Trial, markdown
from bundle.load import STARTER, load
from bundle.runtime import KerasOptions, gpu_is_visible
from bundle.signing import RELEASE_KEY, public_key
from core.settings import RuntimeChoice

_READY: Final = "ready"
# of every batch size as many, so that one answer weighs as much as another
_IMAGES: Final = 64
_WAYS: Final = {
    "litert": (RuntimeChoice.LITERT, KerasOptions()),
    "keras": (RuntimeChoice.KERAS, KerasOptions(max(BATCHES))),
    "keras-xla": (RuntimeChoice.KERAS, KerasOptions(max(BATCHES), xla=True)),
}


class Child:
    """A process that scores one way; its start ends with its first score."""

    def __init__(self, way: str) -> None:
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.inference", way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._line().rstrip() != _READY:
            raise RuntimeError(f"{way} did not start; what it said stands above")
        pid = self._process.pid
        self.start = Start(time.monotonic() - began, processes.cpu_seconds(pid), processes.memory(pid).resident)

    def score(self, batch: int) -> Inference:
        """Score images, so many at once.

        Raises
        ------
        RuntimeError
            If the process ended instead.
        """
        print(batch, file=self._process.stdin, flush=True)
        return Inference(**json.loads(self._line()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)

    def _line(self) -> str:
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise RuntimeError("scoring ended its process; what it said stands above")
        return line


def run(options: argparse.Namespace, folder: Path) -> list[Bar]:
    """Measure, and write the document's section and the raw figures; nothing must be reached, so no bar is returned.

    Parameters
    ----------
    options : Namespace
        ``repetitions``, each with fresh processes; ``seed`` of the order; ``out``, the folder of performance.md.
    folder : Path
        On the disk that is told of.
    """
    # whether XLA pays is a question for a GPU
    ways = [way for way in _WAYS if way != "keras-xla" or gpu_is_visible()]
    date, facts = datetime.now(UTC).date().isoformat(), _facts(folder)
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    trials = [trial for repetition in range(options.repetitions) for trial in _repetition(ways, repetition, chance)]
    found = Inferences(date, {**facts, "load after": f"{machine.facts(folder)['load before']}"}, trials)
    figures = options.out / "figures" / "worker-inference.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(asdict(found), indent=1) + "\n")
    report.insert(options.out / "performance.md", markdown(found), "bench-worker", "inference")
    return []


def _repetition(ways: list[str], repetition: int, chance: random.Random) -> Iterator[Trial]:
    """Start every way anew, one after another, and let them take turns."""
    began = time.monotonic()
    with ExitStack() as stack:
        children = {}
        for way in chance.sample(ways, len(ways)):
            children[way] = Child(way)
            stack.callback(children[way].close)
        scored: dict[str, dict[int, Inference]] = {way: {} for way in ways}
        for way, batch in chance.sample(turns := [(way, batch) for way in ways for batch in BATCHES], len(turns)):
            scored[way][batch] = children[way].score(batch)
        for way, child in children.items():
            yield Trial(way, repetition, child.start, scored[way])
    print(f"inference, repetition {repetition + 1}: {time.monotonic() - began:.0f} s", flush=True)


def _facts(folder: Path) -> dict[str, str]:
    general = {
        name: value for name, value in machine.facts(folder).items() if name not in {"pynetdicom", "dcmtk", "Orthanc"}
    }
    return {**general, **{name: version(name) for name in ("ai-edge-litert", "keras", "tensorflow", "numpy")}}


def main() -> None:
    """Answer until standard input ends."""
    choice, options = _WAYS[sys.argv[1]]
    model = load(STARTER, choice, None, [public_key(RELEASE_KEY)], options=options)
    side = model.spec.input_size
    images = np.random.default_rng(0).standard_normal((_IMAGES, side, side, model.spec.channels), np.float32)
    model.runtime.look(images[:1])
    print(_READY, flush=True)
    for line in sys.stdin:
        batch = int(line)
        # a size may have to be made ready
        model.runtime.look(images[:batch])
        used, start = _cpu_seconds(), time.perf_counter()
        for first in range(0, _IMAGES, batch):
            model.runtime.look(images[first : first + batch])
        seconds, cpu = time.perf_counter() - start, _cpu_seconds() - used
        print(json.dumps(asdict(Inference(seconds * 1e3 / _IMAGES, cpu * 1e3 / _IMAGES))), flush=True)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
