"""`lungwatch train`: make a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.output import console, notes, table
from core import logging
from core.clock import SystemClock
from core.settings import load as load_settings
from training.fitting.computing import Precision

if TYPE_CHECKING:
    from bundle.manifest import Interval
    from training.fitting.run import Epoch


class Model(StrEnum):
    """Networks that can be trained."""

    BASE = "base"
    REGULARISED = "regularised"
    AUGMENTED = "augmented"
    VGG16 = "vgg16"
    MOBILENETV2 = "mobilenetv2"
    CHAMPION = "champion"


class _Bars:
    """Progress on standard error, one bar a stage and a line an epoch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def stage(self, name: str, total: int) -> Callable[[], None]:
        task = self._progress.add_task(name, total=total)
        return lambda: self._progress.advance(task)

    def epoch(self, epoch: Epoch) -> None:
        self._progress.console.print(
            f"epoch {epoch.number:>2}: loss {epoch.loss:.4f}; watched patients: loss {epoch.watch_loss:.4f}, "
            f"balanced accuracy {epoch.watch_accuracy:.4f}; {epoch.seconds:.0f} s",
            soft_wrap=True,
        )


@contextmanager
def bars() -> Iterator[_Bars]:
    """Show progress for as long as the block lasts."""
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


def _words(value: str | None) -> str | None:
    if value is not None and not (value.strip() and value.isprintable()):
        raise typer.BadParameter("printable characters on one line, and some")
    return value


def train(
    model: Annotated[Model, typer.Argument(help="Which network.")],
    *,
    data: Annotated[
        Path,
        typer.Option(
            help="Folder or zip: the published layout, a folder per class, or DICOM files with a CSV of labels."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder the bundle is written to; must not exist.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; else the network's.")] = None,
    version: Annotated[str | None, typer.Option(help="The bundle's version; else the time.")] = None,
    origin: Annotated[
        str | None,
        typer.Option(help="What the data are. Needed unless they are the public collection.", callback=_words),
    ] = None,
    attribution: Annotated[
        str | None, typer.Option(help="Licence and source of the data; likewise.", callback=_words)
    ] = None,
    intended_use: Annotated[
        Path | None,
        typer.Option(help="JSON: for whom the model is, with the ages that workers hold it to; likewise."),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(help="Lower bound of sensitivity by patient the threshold must reach.", min=0.5, max=0.999)
    ] = 0.97,
    seed: Annotated[int | None, typer.Option(help="Another seed than the recipe's.", min=0)] = None,
    epochs: Annotated[int | None, typer.Option(help="Another number of epochs than the recipe's.", min=1)] = None,
    backbone_weights: Annotated[
        str | None,
        typer.Option(help="For vgg16 and mobilenetv2: imagenet (Keras' download), none, or Keras' file without top."),
    ] = None,
    as_notebook: Annotated[
        bool, typer.Option("--as-notebook", help="Give the backbone [0, 1], not what it was trained with.")
    ] = False,
    precision: Annotated[
        Precision, typer.Option(help="auto: half precision (mixed_float16) on GPUs that are made for it, else float32.")
    ] = Precision.AUTO,
    devices: Annotated[
        int | None, typer.Option(help="How many GPUs share every batch; else all there are.", min=1)
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded images, 0.1 MB each, and features; else <out>.partial.")
    ] = None,
    unlike: Annotated[
        bool,
        typer.Option(
            help="Measure at the end what is noticed of pictures unlike chests; drawing them takes minutes, and "
            "evaluate --unfamiliar does it later as well."
        ),
    ] = True,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's files, a point an epoch.")] = None,
) -> None:
    """Train a model and write its signed bundle.

    Patients are split by a keyed hash; the frozen test share is scored once at the end and shapes nothing.
    Interrupted, the same command goes on where it stopped: work in progress lies in <out>.partial.
    Needs LUNGWATCH_SIGNING_KEY_FILE.

    Exit codes: 0 written; 2 wrong command line, settings, data or key, with what to do.
    """
    settings = load_settings()
    logging.configure(settings)
    from bundle.signing import private_key  # noqa: PLC0415 - --help must answer at once

    key = private_key(settings)  # before hours are spent
    from training.bundling.build import Order, build  # noqa: PLC0415 - likewise
    from training.bundling.claims import Claims, read_intended_use  # noqa: PLC0415 - likewise
    from training.datasets.decoding import site_rules  # noqa: PLC0415 - likewise
    from training.errors import NoRoom  # noqa: PLC0415 - likewise
    from training.familiarity.noticing import COUNT  # noqa: PLC0415 - likewise
    from training.fitting.recipe import RECIPES, vary, with_backbone  # noqa: PLC0415 - likewise

    now = SystemClock().now()
    claims = Claims(origin, attribution, None if intended_use is None else read_intended_use(intended_use))
    order = Order(
        with_backbone(vary(RECIPES[model.value], seed, epochs), backbone_weights, as_notebook=as_notebook),
        data,
        out.absolute(),
        name or model.value,
        version or now.strftime("%Y%m%dT%H%M%SZ"),
        sensitivity,
        COUNT if unlike else 0,
        precision,
        devices,
        cache and cache.absolute(),
        tensorboard and tensorboard.absolute(),
        rules=site_rules(settings),
        claims=claims,
    )
    with bars() as shown:
        try:
            manifest, digest = build(order, key, now, shown)
        except NoRoom as error:
            raise NoRoom(f"{error}: --cache is where decoded images lie, <out>.partial where the rest does") from None
    console().print(f"{manifest.title} written to {out}, digest {digest}", soft_wrap=True)
    notes().print(f"{order.partial} held the work in progress and may be removed", soft_wrap=True)
    for split, figures in manifest.metrics.items():
        console().print(figures_table(figures, f"{split} patients"))


def figures_table(metrics: dict[str, Interval], title: str) -> object:
    """Return a table of figures with their intervals."""
    rows = [(name.replace("_", " "), found.value, found.low, found.high) for name, found in metrics.items()]
    return table(("figure", "value", "low", "high"), rows, title)
