"""From a file to the 224 pixel input, our way and pydicom's, in a process that is told the file by standard input.

``python -m bench.decoding WAY`` answers each line, the path of a file, by a
line of JSON: a `Decoding`.
"""

from __future__ import annotations

import json
import mmap
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from imaging.develop import develop
from imaging.header import read_header
from imaging.instance import ReadingRules, read_instance
from imaging.master import load_master
from imaging.spec import PreprocessSpec

_BUDGET: Final = 512 << 20
_SPEC: Final = PreprocessSpec(input_size=224, channels=1)
# resets the peak that the kernel keeps of a process's resident memory, proc(5)
_RESET_PEAK: Final = "5"


@dataclass(frozen=True, slots=True)
class Decoding:
    """One file, once.

    Attributes
    ----------
    milliseconds : float
        From opening the file to the input.
    cpu_milliseconds : float
        Processor time in it, user and system.
    peak : int
        By how much the process's resident memory grew, bytes; a mapped file counts.
    """

    milliseconds: float
    cpu_milliseconds: float
    peak: int


def ours(path: Path) -> NDArray[np.float32]:
    """Lungwatch: to the model's input, nothing written."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        content = memoryview(mapped)
        master = develop(read_header(content), content, _BUDGET).master
        content.release()
        return _SPEC.apply(master)


def ours_kept(path: Path) -> NDArray[np.float32]:
    """Lungwatch as a worker does it: scope rules apart, the master is kept durably and read back."""
    with tempfile.TemporaryDirectory(dir=path.parent) as masters:
        reading = read_instance(path, Path(masters), ReadingRules(None, _BUDGET))
        if reading.master is None:
            raise ValueError(reading.detail)
        return _SPEC.apply(load_master(Path(masters), reading.master.digest))


def pydicoms(path: Path, plugin: str = "") -> NDArray[np.float32]:
    """Decode as most programs do: pydicom, its lookup tables in floats at full size, a resize.

    RLE is decoded by pydicom itself, unless another plugin is asked for.
    """
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
        plugin = plugin or "pydicom"
    dataset.pixel_array_options(decoding_plugin=plugin)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    low, high = shown.min(), shown.max()
    grey = ((shown - low) / (high - low)).astype(np.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    return np.asarray(Image.fromarray(grey).resize((224, 224), Image.Resampling.BILINEAR))


WAYS: Final[dict[str, Callable[[Path], NDArray[np.float32]]]] = {
    "lungwatch": ours,
    "lungwatch-kept": ours_kept,
    "pydicom": pydicoms,
    "pydicom-rle": partial(pydicoms, plugin="pylibjpeg"),
}
# a way that is for some transfer syntaxes alone
ONLY: Final = {"pydicom-rle": "RLELossless"}


def measure(way: Callable[[Path], NDArray[np.float32]], path: Path) -> Decoding:
    """Run one way over a file once."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    before = _status("VmRSS")
    used, start = _cpu_seconds(), time.perf_counter()
    way(path)
    seconds, cpu = time.perf_counter() - start, _cpu_seconds() - used
    return Decoding(seconds * 1e3, cpu * 1e3, max(0, _status("VmHWM") - before))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(key)


def main() -> None:
    """Answer until standard input ends."""
    way = WAYS[sys.argv[1]]
    for line in sys.stdin:
        print(json.dumps(asdict(measure(way, Path(line.rstrip("\n"))))), flush=True)


if __name__ == "__main__":
    main()
