"""`lungwatch compare`: the notebook's five networks, and ours, judged side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.output import console, notes, print_json, table
from core import logging
from core.errors import Misconfigured
from core.settings import load as load_settings
from training.comparison.contenders import SEED_MODELS, Name
from training.comparison.protocols import Protocol

if TYPE_CHECKING:
    from bundle.manifest import Interval
    from training.comparison.record import Point
    from training.comparison.report import Comparison

_SHOWN = ("accuracy", "precision", "sensitivity", "specificity", "auc", "average_precision", "brier", "ece")


class _Bars:
    """Progress on standard error: a bar for all fits, one for the stage at hand, a line an epoch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage: TaskID | None = None

    def fits(self, total: int) -> Callable[[], None]:
        task = self._progress.add_task("fits", total=total)
        return lambda: self._progress.advance(task)

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        if self._stage is not None:
            self._progress.remove_task(self._stage)
        task = self._stage = self._progress.add_task(name, total=total)
        return lambda count: self._progress.advance(task, count)

    def epoch(self, name: str, point: Point) -> None:
        accuracy = "" if point.accuracy is None else f", accuracy {point.accuracy:.4f}"
        self._progress.console.print(
            f"{name}, epoch {point.number:>2}: loss {point.loss:.4f}{accuracy}; scored images: loss "
            f"{point.scored_loss:.4f}, accuracy {point.scored_accuracy:.4f}; {point.seconds:.0f} s",
            soft_wrap=True,
        )


@contextmanager
def _bars() -> Iterator[_Bars]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    out = notes()
    # a log needs the lines of the epochs and no bars
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        yield _Bars(progress)


def compare(
    dataset: Annotated[
        Path | None,
        typer.Argument(
            help="Folder or zip: the published layout, a folder per class, or DICOM files with a CSV of labels."
        ),
    ] = None,
    *,
    data: Annotated[Path | None, typer.Option(help="The same, as train and evaluate take it.")] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="seed: the notebook's, by image; published: score test/; patient: repeated, by patient; "
            "styles: leave one style of normals out at a time."
        ),
    ],
    models: Annotated[
        str | None, typer.Option(help="Names with commas between; champion may be among them. Else the five.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for work and reports; else compare-<protocol>.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Other than the notebook's 20.", min=1)] = None,
    folds: Annotated[int, typer.Option(help="Of the protocol patient; five score every patient.", min=1)] = 5,
    sensitivity: Annotated[
        float,
        typer.Option(help="Lower bound of sensitivity by patient the operating point must reach.", min=0.1, max=0.999),
    ] = 0.97,
    backbone_weights: Annotated[
        str,
        typer.Option(help="For vgg16 and mobilenetv2: imagenet (Keras' download), none, or a folder of Keras' files."),
    ] = "imagenet",
    as_notebook: Annotated[
        bool, typer.Option("--as-notebook", help="Give backbones [0, 1], not what they were trained with.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Of patients, for the intervals.", min=1)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit the notebook's networks, and judge them by one protocol in one table.

    Writes report.html, report.md and report.json. Interrupted, the same command goes on where it stopped.

    Exit codes: 0 written; 2 wrong command line, settings or data, with what to do; 3 the disk failed.
    """
    settings = load_settings()
    logging.configure(settings)
    if (dataset is None) == (data is None):
        raise Misconfigured("say which data set to compare on: lungwatch compare DATASET --protocol ...")
    from training.comparison.compare import compare as run  # noqa: PLC0415 - --help must answer at once
    from training.comparison.runner import Order  # noqa: PLC0415 - likewise
    from training.datasets.decoding import site_rules  # noqa: PLC0415 - likewise

    order = Order(
        data=(dataset or data or Path()).absolute(),
        out=(out or Path(f"compare-{protocol.value}")).absolute(),
        protocol=protocol,
        models=_names(models),
        epochs=epochs,
        folds=folds,
        backbone_weights=backbone_weights,
        as_notebook=as_notebook,
        rules=site_rules(settings),
    )
    with _bars() as bars:
        comparison = run(order, bars, sensitivity, resamples)
    if as_json:
        print_json(comparison.to_dict())
    else:
        _show(comparison)
    notes().print(f"report.html, report.md and report.json are in {order.out}", soft_wrap=True)


def _names(models: str | None) -> tuple[Name, ...]:
    if models is None:
        return SEED_MODELS
    known = {name.value: name for name in Name}
    asked = [part.strip() for part in models.split(",") if part.strip()]
    for part in asked:
        if part not in known:
            raise Misconfigured(f"no network is called {part!r}; --models takes {', '.join(known)}")
    if not asked:
        raise Misconfigured(f"--models names none; it takes {', '.join(known)}")
    return tuple(dict.fromkeys(known[part] for part in asked))


def _show(comparison: Comparison) -> None:
    rows = []
    for one, _, judgement in comparison.parts:
        rows.append((one.name.value, "argmax", *(_short(judgement.argmax.metrics[name]) for name in _SHOWN)))
        if judgement.chosen is not None:
            metrics = judgement.chosen.metrics
            rows.append((one.name.value, "operating point", *(_short(metrics[name]) for name in _SHOWN)))
        else:
            notes().print(f"{one.name.value}: {judgement.reason}", soft_wrap=True)
        view = judgement.chosen or judgement.argmax
        for fold, division in zip(comparison.fits.plan.folds, view.divisions, strict=False):
            rows.append((one.name.value, fold.name, *(_short(division.metrics[name]) for name in _SHOWN)))
    titles = tuple(name.replace("_", " ") for name in _SHOWN)
    console().print(table(("model", "called by", *titles), rows))


def _short(interval: Interval) -> float | None:
    return interval.value
