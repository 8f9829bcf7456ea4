"""Where it was measured: figures of another machine are no comparison."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

_GIGABYTE: Final = 1 << 30
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def filesystem(folder: Path) -> str:
    """Return the type of the file system that holds a folder."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    points = [(Path(mount[1].replace("\\040", " ")), mount[2]) for mount in mounts]
    # of two mounts on one point, the later hides the earlier
    around = [(len(point.parts), n, kind) for n, (point, kind) in enumerate(points) if folder.is_relative_to(point)]
    return max(around)[2]


def is_in_memory(folder: Path) -> bool:
    """Whether fsync costs nothing there, so that nothing could be compared."""
    return filesystem(folder) in _IN_MEMORY


def facts(folder: Path) -> dict[str, str]:
    """Return what decides the figures, by name; what is not installed is left out."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "processor": f"{len(os.sched_getaffinity(0))} x {names[0].partition(': ')[2] if names else platform.machine()}",
        "memory": f"{memory / _GIGABYTE:.0f} GiB",
        "kernel": platform.release().partition("-")[0],
        "file system": filesystem(folder),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "pynetdicom": version("pynetdicom"),
    }
    for name, command in {"dcmtk": ["storescp", "--version"], "Orthanc": ["Orthanc", "--version"]}.items():
        if shutil.which(command[0]):
            said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
            found[name] = next((word.lstrip("v") for word in said.split() if word.lstrip("v")[:1].isdigit()), "?")
    return found
