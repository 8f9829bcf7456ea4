"""Print the table of docs/phantoms.md: what the model says of phantoms, beside real radiographs.

    python -m tests.tools.score_phantoms chest_xray_fullres_sample.zip

The phantoms are written as DICOM objects, the radiographs are taken as they
are; `lungwatch predict` reads both. Nothing is decided by these figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.load import STARTER
from bundle.manifest import LITERT
from bundle.signing import RELEASE_KEY, public_key
from bundle.store import verify
from cli.demo.own_data import find
from cli.output import likelihood
from imaging.phantom.radiograph import View, radiograph
from tests.factories.dicom_objects import phantom, write

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    files: list[Path]


def phantoms(folder: Path, count: int) -> Iterator[Group]:
    for view, name in ((View.CLEAR, "phantom, lungs clear"), (View.OPACITY, "phantom, with opacities")):
        files = []
        for seed in range(count):
            dataset = phantom(f"{view}-{seed}", picture=radiograph(view, 1000 + seed))
            files.append(write(folder, dataset, f"{view}-{seed}.dcm"))
        yield Group(name, files)


def radiographs(source: Path, folder: Path) -> Iterator[Group]:
    labels: dict[str, list[Path]] = {"NORMAL": [], "PNEUMONIA": []}
    for number, picture in enumerate(find([source], 1_000_000)):
        label = Path(picture.name).parent.name
        if label in labels:
            path = folder / f"{label}-{number}.jpeg"
            path.write_bytes(picture.read())
            labels[label].append(path)
    for label, files in labels.items():
        yield Group(f"radiograph, labelled {label}", files)


def predict(files: list[Path]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "predict", "--json", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def row(group: Group) -> tuple[str, str]:
    """Return the group's line and the model that spoke."""
    found = predict(group.files)
    outcomes = Counter(one["outcome"] for one in found)
    chances = [one["probability"] for one in found if one["probability"] is not None]
    low, middle, high = (likelihood(float(one)) for one in np.percentile(chances, [25, 50, 75])) if chances else "---"
    counts = " | ".join(str(outcomes[word]) for word in ("SUSPECTED", "NOT_SUSPECTED", "NO_RESULT"))
    line = f"| {group.name} | {len(found)} | {counts} | {middle} ({low} to {high}) |"
    return line, found[0]["model"]


def network() -> str:
    """Return what tells one fit of the starter from another of the same name."""
    manifest = verify(STARTER, None, [public_key(RELEASE_KEY)]).manifest
    return manifest.files[LITERT][:12]


def main() -> None:
    parser = argparse.ArgumentParser(description="What the model says of phantoms, beside real radiographs.")
    parser.add_argument("source", type=Path, help="zip or folder with NORMAL/ and PNEUMONIA/")
    parser.add_argument("--count", type=int, default=8, help="phantoms of each kind")
    arguments = parser.parse_args()
    sys.stdout.write("| pictures | n | SUSPECTED | NOT_SUSPECTED | NO_RESULT | probability: median (quartiles) |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as folder:
        models = set()
        for group in (*phantoms(Path(folder), arguments.count), *radiographs(arguments.source, Path(folder))):
            line, model = row(group)
            models.add(model)
            sys.stdout.write(line + "\n")
    sys.stdout.write(f"\nModel: {', '.join(sorted(models))}, network {network()}\n")


if __name__ == "__main__":
    main()
