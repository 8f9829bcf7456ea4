"""Small data sets of the published layout, drawn and not photographed: normals dark, pneumonias bright below."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(label: str, seed: int, size: int = 32) -> bytes:
    """Return a JPEG that differs with the seed."""
    rng = np.random.default_rng(seed)
    grey = rng.integers(60, 90, (size, size)).astype(np.float32)
    if label == "PNEUMONIA":
        grey[size // 2 :] += 90
    stream = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def published(normals: int, pneumonias: int, split: str | None = "train", first: int = 1) -> dict[str, bytes]:
    """Return path to content of so many patients of each class, one image each, numbered from `first`."""
    folder = f"{split}/" if split else ""
    files = {}
    # no picture occurs in two splits
    seed = 1_000_000 * ("train", "val", "test").index(split or "train")
    for number in range(first, first + normals):
        files[f"{folder}NORMAL/IM-{number:04}-0001.jpeg"] = picture("NORMAL", seed + number)
    for number in range(first, first + pneumonias):
        kind = ("bacteria", "virus")[number % 2]
        files[f"{folder}PNEUMONIA/person{number}_{kind}_{number + 100}.jpeg"] = picture(
            "PNEUMONIA", seed + 10_000 + number
        )
    return files


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes], inside: str = "chest_xray/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(inside + name, content)
    return path
