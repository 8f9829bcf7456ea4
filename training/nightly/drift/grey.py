"""Grey levels of some masters: what a changed device, window or decoder shows in, whatever the header says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.master import FULL_SCALE, MissingMaster, load_master
from training.nightly.drift.result import Name
from training.nightly.drift.sizes import Sample
from training.nightly.drift.weeks import sample


def grey_levels(masters: Path, patients: Mapping[str, int], most: int) -> dict[Name, Sample]:
    """Measure some of the masters, the same ones each time.

    Parameters
    ----------
    masters : Path
        The masters directory.
    patients : mapping of str to int
        Patients by digest of master.
    most : int
        Masters to measure: those with the smallest digests, for a digest has nothing to do with what it is of. Where
        one is gone or damaged the next is taken, until as many were missing.

    Returns
    -------
    dict of Name to Sample
        BRIGHTNESS, CONTRAST and SHARPNESS; shorter where masters are gone.
    """
    found: dict[Name, tuple[list[float], list[int]]] = {}
    measured = missing = 0
    for digest in sorted(patients):
        if most in (measured, missing):
            break
        try:
            master = load_master(masters, digest)
        except MissingMaster:
            missing += 1
            continue
        measured += 1
        for name, value in measure(master).items():
            values, whose = found.setdefault(name, ([], []))
            values.append(value)
            whose.append(patients[digest])
    return {name: sample(values, whose) for name, (values, whose) in found.items()}


def measure(master: NDArray[np.uint16]) -> dict[Name, float]:
    """Measure one master; `Name` says what each figure is.

    Parameters
    ----------
    master : ndarray of uint16, shape (rows, columns)
        0 black to 65535 white.
    """
    grey = master.astype(np.float32) / FULL_SCALE
    low, middle, high = (float(one) for one in np.percentile(grey, (1, 50, 99)))
    steps = [float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in (0, 1) if grey.shape[axis] > 1]
    contrast = high - low
    return {
        Name.BRIGHTNESS: middle,
        Name.CONTRAST: contrast,
        Name.SHARPNESS: sum(steps) / len(steps) / contrast if steps and contrast > 0 else 0.0,
    }
