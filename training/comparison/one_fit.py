"""One fit in a process of its own, so that its memory is its own and a crash ends nothing else.

``python -m training.comparison.one_fit FOLDER PARENT`` reads ``job.json`` in the folder and speaks
JSON lines on standard output: ``stage``, ``step``, ``epoch`` and, in the end, ``done`` or ``failed``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from bundle.architectures import transfer
from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from core.errors import LungwatchError
from core.parent_death import die_with
from imaging.instance import ReadingRules
from training.comparison.contenders import BATCH, Contender, Name, contender
from training.comparison.protocols import Fold, Rows
from training.comparison.record import Layer, Parameters, Point, Record, Result
from training.datasets.cache import cached, digest_of
from training.datasets.dataset import Dataset, open_dataset
from training.datasets.pixels import Examples, labels_of, load, load_squares, patients_of
from training.errors import FitFailed
from training.fitting.backbones import features, fill, only
from training.fitting.run import Epoch, Run
from training.fitting.stopwatch import Stopwatch

_BATCH = 64
_RULES: TypeAdapter[ReadingRules | None] = TypeAdapter(ReadingRules | None)


@dataclass(frozen=True)
class Job:
    """What one process has to do.

    Attributes
    ----------
    cache : Path
        Where pixels and features are kept for all fits.
    data_digest : str
        Over every image's key and bytes.
    rules : ReadingRules, optional
        What DICOM files are held against, see `training.datasets.dataset.open_dataset`.
    """

    data: Path
    cache: Path
    data_digest: str
    fingerprint: str
    contender: Contender
    fold: Fold
    rules: ReadingRules | None = None

    def to_dict(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the job as JSON-ready data; `options` are those of `contenders.contender`."""
        fold = {part: getattr(self.fold, part).tolist() for part in ("fit", "tune", "scored")}
        return {
            "data": str(self.data),
            "cache": str(self.cache),
            "data_digest": self.data_digest,
            "fingerprint": self.fingerprint,
            "contender": options,
            "fold": {"name": self.fold.name, **fold},
            "rules": _RULES.dump_python(self.rules, mode="json"),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """Read what `to_dict` wrote."""
        options = values["contender"]
        fold = values["fold"]
        parts = {part: np.array(fold[part], np.int64) for part in ("fit", "tune", "scored")}
        return cls(
            Path(values["data"]),
            Path(values["cache"]),
            values["data_digest"],
            values["fingerprint"],
            contender(Name(options.pop("name")), **options),
            Fold(fold["name"], **parts),
            _RULES.validate_python(values["rules"]),
        )


Say = Callable[..., None]


def run(job: Job, folder: Path, say: Say) -> None:
    """Fit, score, and write the result.

    Raises
    ------
    DatasetError, FitFailed, OSError
        What is fitted so far stays, to go on from.
    """
    record = Record.open(folder, job.fingerprint)
    record.write()
    with open_dataset(job.data, job.rules) as dataset:
        say("stage", name="read pictures", total=len(dataset.items))
        whole = _pixels(job, dataset, lambda count: say("step", count=count))
        fitting = _fit_hardened if job.contender.recipe is not None else _fit_as_notebook
        score, record, network = fitting(job, dataset, whole, record, say)
    say("stage", name="score", total=len(job.fold.tune) + len(job.fold.scored))
    tuned, scored = (_scores(score, rows, say) for rows in (job.fold.tune, job.fold.scored))
    record.finish(
        Result(
            points=record.points,
            tuned=tuple(tuned),
            scored=tuple(scored),
            seconds=round(sum(point.seconds for point in record.points), 1),
            processor_seconds=round(sum(point.processor_seconds for point in record.points), 1),
            preparation_seconds=record.preparation_seconds,
            preparation_processor_seconds=record.preparation_processor_seconds,
            peak_memory=max(record.peak_memory, _peak()),
            parameters=_count(network),
            layers=_layers(network),
        )
    )
    say("done")


Score = Callable[[Rows], NDArray[np.float32]]


def _pixels(job: Job, dataset: Dataset, advance: Callable[[int], None]) -> Examples:
    """Return all images, decoded once for all fits and mapped from disk."""
    spec = job.contender.spec

    def make(rows: slice) -> NDArray[np.float32]:
        return load(dataset, dataset.items[rows], spec).planes

    shape = (len(dataset.items), spec.input_size, spec.input_size)
    planes = cached(job.cache, _pixels_digest(job), shape, make, advance)
    return Examples(planes, labels_of(dataset.items), patients_of(dataset.items), dataset.items, spec.channels)


def _pixels_digest(job: Job) -> str:
    return digest_of("pixels", job.data_digest, job.contender.spec.digest())


def _fit_as_notebook(
    job: Job, dataset: Dataset, whole: Examples, record: Record, say: Say
) -> tuple[Score, Record, Any]:
    del dataset
    before_tensorflow()
    from training.comparison.notebook_fit import fit_as_notebook  # noqa: PLC0415 - loads TensorFlow

    build = ARCHITECTURES[job.contender.architecture]
    network = build()
    seen = whole
    if job.contender.backbone_weights is not None:
        weights = fill(network, job.contender.backbone_weights)
        say("stage", name="features of the backbone", total=len(whole))
        stopwatch = Stopwatch()
        seen = features(network, weights, whole, _pixels_digest(job), job.cache, lambda count: say("step", count=count))
        if not record.points:
            took = stopwatch.read()
            record = Record(record.folder, record.fingerprint, (), took.seconds, took.processor_seconds)
            record.write()
        build = lambda: transfer.split(ARCHITECTURES[job.contender.architecture]())[1]  # noqa: E731
    train, watched = only(seen, job.fold.fit), only(seen, job.fold.scored)
    steps = -(-len(train) // BATCH)
    say("stage", name="fit", total=job.contender.epochs * steps)
    say("step", count=len(record.points) * steps)
    model, record = fit_as_notebook(
        job.contender,
        record,
        train,
        watched,
        build,
        report=lambda point: say("epoch", **asdict(point)),
        advance=lambda _epoch, _batch: say("step", count=1),
    )

    def score(rows: Rows) -> NDArray[np.float32]:
        found: NDArray[np.float32] = model.predict_on_batch(seen.inputs(rows))[:, 1]
        return found

    return score, record, network


def _fit_hardened(job: Job, dataset: Dataset, whole: Examples, record: Record, say: Say) -> tuple[Score, Record, Any]:
    from training.fitting.hardened import fit_hardened  # noqa: PLC0415 - loads TensorFlow

    recipe = job.contender.recipe
    if recipe is None:
        raise FitFailed("a contender without a recipe is fitted as the notebook did")
    items = [dataset.items[int(row)] for row in job.fold.fit]
    say("stage", name="read squares", total=len(items))
    squares = load_squares(dataset, items, recipe.spec, lambda: say("step", count=1))
    work = Run.start_or_resume(record.work, job.fingerprint)
    steps = -(-len(items) // recipe.batch_size)
    say("stage", name="fit", total=recipe.epochs * steps)
    say("step", count=len(work.epochs) * steps)

    def report(epoch: Epoch) -> None:
        nonlocal record
        # another process may go on from here, which has not seen this one's memory
        record = replace(record, peak_memory=max(record.peak_memory, _peak()))
        record.write()
        say("epoch", **asdict(_point(epoch)))

    model = fit_hardened(
        recipe,
        recipe.spec,
        work,
        job.fingerprint,
        squares,
        only(whole, job.fold.scored),
        report=report,
        advance=lambda _epoch, _batch: say("step", count=1),
    )
    epochs = Run.start_or_resume(record.work, job.fingerprint).epochs
    ended = replace(record, points=tuple(_point(epoch) for epoch in epochs))

    def score(rows: Rows) -> NDArray[np.float32]:
        found: NDArray[np.float32] = model.predict_on_batch(whole.inputs(rows))[:, 1]
        return found

    return score, ended, model


def _point(epoch: Epoch) -> Point:
    # its accuracy on the watched weighs both classes alike
    return Point(
        epoch.number,
        epoch.loss,
        None,
        epoch.watch_loss,
        epoch.watch_accuracy,
        epoch.seconds,
        epoch.processor_seconds or 0.0,
    )


def _scores(score: Score, rows: Rows, say: Say) -> list[float]:
    found: list[float] = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        found += [float(value) for value in score(part)]
        say("step", count=len(part))
    wrong = [value for value in found if not 0 <= value <= 1]
    if wrong:
        raise FitFailed("a score is not a number from 0 to 1")
    return found


def _peak() -> int:
    from training.comparison.notebook_fit import peak_memory  # noqa: PLC0415 - TensorFlow is loaded by now

    return peak_memory()


def _count(model: Any) -> Parameters:
    trainable, frozen = (
        sum(int(np.prod(weight.shape)) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )
    return Parameters(int(model.count_params()), trainable, frozen)


def _layers(model: Any) -> tuple[Layer, ...]:
    return tuple(
        Layer(type(layer).__name__, str(tuple(layer.output.shape)), int(layer.count_params())) for layer in model.layers
    )


def main(folder: Path, parent: int) -> int:
    """Run the job in a folder; the exit status is 0 when it is done."""
    if not die_with(parent):
        return 1
    # what libraries print, our own and native ones, is no event
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(event: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}), file=stream, flush=True)

    try:
        run(Job.from_dict(json.loads((folder / "job.json").read_text())), folder, say)
    except LungwatchError as error:
        say("failed", message=str(error))
        return 1
    except OSError as error:
        say("failed", message=f"{folder}: the operating system refused: {error.strerror or type(error).__name__}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
