"""Writing the report of a night: the page, the text and the data, each whole."""

from __future__ import annotations

from pathlib import Path

from core.files import write_durably
from training.drawing import require_matplotlib
from training.nightly.report.measured import measure
from training.nightly.report.names import JSON, PAGE, TEXT
from training.nightly.report.night import Night
from training.nightly.report.page import page
from training.nightly.report.record import json_text
from training.nightly.report.text import text


def write(folder: Path, night: Night) -> None:
    """Write `report.json`, `report.txt` and, last, `report.html` into a folder, made where it is not there.

    The same night gives the same bytes, so repeating it is safe; a crash leaves each
    file as it was or as it is meant to be.

    Raises
    ------
    OSError
        If the disk refuses.
    training.errors.FitFailed
        If matplotlib is not installed.
    """
    require_matplotlib()
    test = measure(night.test) if night.test else None
    recent = measure(night.recent) if night.recent else None
    for name, content in (
        (JSON, json_text(night, test, recent)),
        (TEXT, text(night, test, recent)),
        (PAGE, page(night, test, recent)),
    ):
        write_durably(folder / name, content.encode())
