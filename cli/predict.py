"""`lungwatch predict`: what the model says of files at hand, with no listener and no database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from bundle.heatmap import refuse_without
from bundle.load import STARTER_LOCATION, LoadedModel
from cli import model_choice
from cli.output import console, likelihood, notes, print_json, table
from core import logging
from core.errors import ExitCode, Misconfigured, RejectedInput, TransientFailure
from core.settings import Settings
from core.settings import load as load_settings
from db.vocabulary import Outcome
from imaging.eight_bit import grey_from_picture, to_sixteen_bit
from imaging.heatmap import render
from imaging.instance import read_instance
from imaging.master import load_master, quality, shrink
from imaging.reading import Quality
from imaging.reasons import Annotation, Rejection
from worker.classify import score
from worker.decide import Decision, decide, is_unfamiliar, no_result
from worker.serving import decision_rules, reading_rules

# what JPEG and PNG files begin with; everything else is read as DICOM, which has no fixed beginning of its own
_PICTURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one file.

    Attributes
    ----------
    reason : str or None
        Coded; set with NO_RESULT and OUT_OF_SCOPE.
    detail : str
        One sentence for a person; empty where there is nothing to add.
    heatmap : bytes or None
        A PNG file, where one was asked for and there is a score.
    """

    file: Path
    outcome: Outcome
    reason: str | None = None
    detail: str = ""
    probability: float | None = None
    prevalence: float | None = None
    flags: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    heatmap: bytes | None = None

    def to_dict(self, model: str) -> dict[str, Any]:
        """Return the row as ``lungwatch predict --json`` prints it."""
        return {
            "file": str(self.file),
            "outcome": self.outcome.value,
            "reason": self.reason,
            "probability": self.probability,
            "prevalence": self.prevalence,
            "flags": list(self.flags),
            "annotations": [annotation.value for annotation in self.annotations],
            "model": model,
        }


def predict(
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or JPEG or PNG pictures of radiographs.")],
    *,
    model: Annotated[str, typer.Option(help=model_choice.HELP)] = STARTER_LOCATION,
    heatmap: Annotated[
        Path | None, typer.Option(help="Folder for pictures of where each score came from, roughly; no localisation.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Classify files and print outcome, probability and flags; needs no listener and no database.

    Files go the way of received images: scope rules, decoding, preprocessing, threshold.
    A picture says nothing of age and view, and is marked so.
    The probability holds at LUNGWATCH_SITE_PREVALENCE, else at the training prevalence.

    Exit codes: 0 every file was classified or is out of scope;
    1 at least one has NO_RESULT (the output is complete); 2 wrong command line, settings or model.
    """
    settings = load_settings()
    logging.configure(settings)
    loaded, _ = model_choice.load(settings, model)
    err = notes()
    if heatmap is not None:
        refuse_without(loaded)
        _make(heatmap)
    classified = classify(files, loaded, settings, heatmaps=heatmap is not None)
    rows: list[Row] = []
    for row in track(classified, "classify", len(files), console=err, transient=True, disable=not err.is_terminal):
        if heatmap is not None and row.heatmap is not None:
            _save(heatmap, row, {seen.file.stem for seen in rows})
        rows.append(replace(row, heatmap=None))
    title = loaded.manifest.title
    if as_json:
        print_json([row.to_dict(title) for row in rows])
    else:
        _show(rows, title)
    for row in rows:
        if row.detail:
            notes().print(f"{row.file}: {row.detail}", soft_wrap=True)
    if any(row.outcome is Outcome.NO_RESULT for row in rows):
        raise typer.Exit(int(ExitCode.FINDING))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the folder {folder} for heatmaps cannot be made: {error.strerror}") from error


def _save(folder: Path, row: Row, taken: set[str]) -> None:
    """Write a heatmap under its file's name, numbered where an earlier file of this call has the same."""
    stem, number = row.file.stem, 1
    while stem in taken:
        number += 1
        stem = f"{row.file.stem}-{number}"
    path = folder / f"{stem}.heatmap.png"
    try:
        path.write_bytes(row.heatmap or b"")
    except OSError as error:
        raise Misconfigured(f"the heatmap {path} cannot be written: {error.strerror}") from error


def _show(rows: list[Row], title: str) -> None:
    # paths alike but for their ends would push everything else off the screen
    named = len({row.file.name for row in rows}) == len(rows)
    cells = [
        (
            # a folder such as "." has no name of its own
            (row.file.name if named else "") or row.file,
            row.outcome if row.reason is None else f"{row.outcome}: {row.reason}",
            likelihood(row.probability) or None,
            row.flags,
            [str(mark) for mark in row.annotations],
        )
        for row in rows
    ]
    columns = ("File", "Outcome", "Probability", "Flags", "Remarks")
    console().print(table(columns, cells, f"{title}; research, not a medical device"))


def classify(files: list[Path], model: LoadedModel, settings: Settings, *, heatmaps: bool = False) -> Iterator[Row]:
    """Classify files one after the other; a file that cannot be read gives NO_RESULT, never an exception."""
    with tempfile.TemporaryDirectory(prefix="lungwatch-") as scratch:
        for file in files:
            if file.is_dir():
                yield _unread(file, Rejection.NOT_DICOM, "is a folder; name its files")
            else:
                yield _classify(file, model, settings, Path(scratch), heatmaps=heatmaps)


def _classify(file: Path, model: LoadedModel, settings: Settings, masters: Path, *, heatmaps: bool) -> Row:
    try:
        with file.open("rb") as stream:
            beginning = stream.read(8)
        if beginning.startswith(_PICTURES):
            return _picture(file, model, settings, heatmaps=heatmaps)
        return _instance(file, model, settings, masters, heatmaps=heatmaps)
    except RejectedInput as error:
        return _unread(file, Rejection(error.reason), error.detail)
    except MemoryError:
        return _unread(file, Rejection.OUT_OF_MEMORY, "decoding it needs more memory than there is")
    except OSError as error:
        return _unread(file, Rejection.MISSING_FILE, f"the file cannot be read: {error.strerror}")
    except TransientFailure as error:
        return _unread(file, Rejection.MISSING_FILE, str(error))


def _picture(file: Path, model: LoadedModel, settings: Settings, *, heatmaps: bool) -> Row:
    grey = grey_from_picture(file)
    master = shrink(grey, to_sixteen_bit)
    marks = (Annotation.UNKNOWN_AGE, Annotation.UNKNOWN_VIEW, Annotation.UNKNOWN_BODY_PART)
    decision, drawn = _decide(master, quality(master, min(grey.shape)), model, settings, heatmaps=heatmaps)
    return _row(file, decision, marks, drawn)


def _instance(file: Path, model: LoadedModel, settings: Settings, masters: Path, *, heatmaps: bool) -> Row:
    reading = read_instance(file, masters, reading_rules(settings, model.manifest.intended_use.age_days))
    if reading.rejected is not None:
        return _unread(file, reading.rejected, reading.detail, reading.annotations)
    if reading.out_of_scope is not None or reading.master is None:
        return Row(file, Outcome.OUT_OF_SCOPE, reading.out_of_scope, annotations=reading.annotations)
    master = load_master(masters, reading.master.digest)
    decision, drawn = _decide(master, reading.master.quality, model, settings, heatmaps=heatmaps)
    return _row(file, decision, reading.annotations, drawn)


def _decide(
    master: NDArray[np.uint16], image_quality: Quality, model: LoadedModel, settings: Settings, *, heatmaps: bool
) -> tuple[Decision, bytes | None]:
    (found,) = score(model.runtime, [model.spec.apply(master)], model.familiarity, model.head)
    if found.failed is not None:
        return no_result(found.failed), None
    rules = decision_rules(model.manifest, model.spec, settings.site_prevalence)
    unfamiliar = is_unfamiliar(found.unfamiliarity, rules)
    drawn = None
    if heatmaps and found.heat is not None:
        drawn = render(master, np.array(found.heat, np.float32), model.spec.crop, model.manifest.title)
    return decide(found.value, rules, image_quality, unfamiliar=unfamiliar), drawn


def _row(file: Path, decision: Decision, annotations: tuple[Annotation, ...], heatmap: bytes | None) -> Row:
    return Row(
        file,
        decision.outcome,
        decision.reason,
        probability=decision.probability,
        prevalence=decision.prevalence,
        flags=tuple(flag.kind.value for flag in decision.flags),
        annotations=annotations,
        heatmap=heatmap,
    )


def _unread(file: Path, reason: Rejection, detail: str, annotations: tuple[Annotation, ...] = ()) -> Row:
    flags = tuple(flag.kind.value for flag in no_result(reason).flags)
    return Row(file, Outcome.NO_RESULT, reason, detail, flags=flags, annotations=annotations)
