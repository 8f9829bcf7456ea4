"""``python -m bench.worker``: our decoding beside pydicom's, for each transfer syntax, one interleaved run.

Within a repetition every file meets every way before the next file comes, in
an order drawn anew, so that a machine that is slow for a while is slow for all.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import uid

from bench import inference, machine, report
from bench.decoding import WAYS, Decoding
from bench.worker_report import Decodings, Trial, bars, markdown
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import PhantomObject, Uids, build, to_bytes

_MARK: Final = "bench-worker"
# what pydicom decodes with: its own RLE and uncompressed decoders need nothing
_PLUGINS: Final = ("pylibjpeg", "libjpeg", "openjpeg")
SYNTAXES: Final = (
    uid.ExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGExtended12Bit,
    uid.JPEGBaseline8Bit,
    uid.HTJ2KLossless,
)
_SHAPE: Final = (2500, 3000)
_QUICK: Final = "--repetitions 1 --side 700"


class Child:
    """A process that decodes one way."""

    def __init__(self, way: str, plugins: Path | None) -> None:
        path = [str(plugins)] if way == "pydicom" and plugins is not None else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(Path.cwd())])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.decoding", way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def decode(self, path: Path) -> Decoding:
        """Decode a file once.

        Raises
        ------
        RuntimeError
            If the process ended instead.
        """
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no pipes")
        print(path, file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"decoding {path.name} ended its process; what it said stands above")
        return Decoding(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


@dataclass(frozen=True, slots=True)
class Written:
    """A file to decode."""

    syntax: uid.UID
    path: Path


def write_files(folder: Path, shape: tuple[int, int]) -> list[Written]:
    """Compute one radiograph and write it in every syntax; 12 bits stored, baseline JPEG 8."""
    picture = radiograph("clear", 1, shape)
    files = []
    for syntax in SYNTAXES:
        uids, bits = Uids(f"bench/{syntax}"), 8 if syntax == uid.JPEGBaseline8Bit else 12
        dataset = build(
            PhantomObject(
                picture=picture >> np.uint16(12 - bits),
                bits_stored=bits,
                syntax=syntax,
                study_uid=uids.new(),
                series_uid=uids.new(),
                sop_instance_uid=uids.new(),
            )
        )
        path = folder / f"{syntax.keyword}.dcm"
        path.write_bytes(to_bytes(dataset))
        files.append(Written(syntax, path))
    return files


def measure(options: argparse.Namespace, folder: Path) -> Decodings:
    """Decode everything below the folder, telling each file as it ends."""
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    date, facts = datetime.now(UTC).date().isoformat(), _facts(folder, options.plugins)
    files = write_files(folder, (options.side * _SHAPE[0] // _SHAPE[1], options.side))
    trials: list[Trial] = []
    began = time.monotonic()
    with ExitStack() as stack:
        children = {}
        for way in WAYS:
            children[way] = Child(way, options.plugins)
            stack.callback(children[way].close)
        for repetition in range(-1, options.repetitions):
            for file in chance.sample(files, len(files)):
                for way in chance.sample(list(WAYS), len(WAYS)):
                    found = children[way].decode(file.path)
                    # the first round loads libraries and fills the page cache
                    if repetition >= 0:
                        trials.append(Trial(way, file.syntax.keyword, repetition, found))
            print(f"{(repetition + 1) / options.repetitions:4.0%} {time.monotonic() - began:5.0f} s", flush=True)
    return Decodings(date, {**facts, "load after": f"{os.getloadavg()[0]:.1f}"}, list(_SHAPE), trials)


def _facts(folder: Path, plugins: Path | None) -> dict[str, str]:
    ours = {name: version(name) for name in ("pydicom", "pillow", "imagecodecs", "numpy")}
    theirs = {one.name: one.version for one in distributions(path=[str(plugins)])} if plugins else {}
    general = {
        name: value for name, value in machine.facts(folder).items() if name not in {"pynetdicom", "dcmtk", "Orthanc"}
    }
    return {**general, **ours, **theirs}


def write(run: Decodings, out: Path) -> None:
    """Write the document's section and the raw figures."""
    figures = out / "figures" / "worker-decode.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(trial)) for trial in run.trials)
    start = json.dumps({"date": run.date, "machine": run.machine, "shape": run.shape}, indent=1)
    figures.write_text(f'{start.rstrip("}").rstrip()},\n"trials": [\n{lines}\n]}}\n')
    report.insert(out / "performance.md", markdown(run), _MARK)


def _missing(plugins: Path | None) -> bool:
    if plugins is not None:
        return any(not (plugins / name).is_dir() for name in _PLUGINS)
    return any(find_spec(name) is None for name in _PLUGINS)


def main(arguments: Sequence[str]) -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=7, help="of every file; 7")
    parser.add_argument("--side", type=int, default=_SHAPE[1], help="longer side of the image, pixels; 3000")
    parser.add_argument("--plugins", type=Path, help="folder of pydicom's decoders (requirements/bench.txt)")
    parser.add_argument("--seed", type=int, default=6, help="of the order")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="on a disk; /var/tmp")  # noqa: S108
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of performance.md; docs")
    parser.add_argument("--quick", action="store_true", help="a trial that everything works: " + _QUICK)
    options = parser.parse_args(arguments)
    if options.quick:
        options = parser.parse_args([*_QUICK.split(), *arguments])
    if _missing(options.plugins):
        print("pydicom's decoders are not there: make bench-worker installs them", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="lungwatch-bench-", dir=options.scratch) as folder:
        run = measure(options, Path(folder))
        write(run, options.out)
        found = [*bars(run), *inference.run(options, Path(folder))]
    for bar in found:
        print(f"{'met   ' if bar.met else 'MISSED'} {bar.what}: {bar.measured}, {bar.bound}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
