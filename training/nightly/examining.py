"""Models on the same pictures: every one asked through its own bundle, as a worker would ask it, and written down."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from bundle.checks import decode
from bundle.load import LoadedModel, bring_up, locate
from bundle.manifest import CHECKS
from bundle.signing import trusted_keys
from bundle.store import verify
from core.errors import TransientFailure
from core.files import make_directories, write_durably
from core.settings import Settings
from db.evaluations import NewEvaluation, record
from db.models.learning import NightlyRun, Snapshot
from db.models.model import ModelVersion
from db.vocabulary import ExaminedOn
from training.datasets.dataset import Dataset, Item
from training.datasets.pixels import labels_of, load, patients_of
from training.examination.examine import Examination, examine
from training.examination.metrics import Scored
from training.examination.score import probabilities
from training.examination.subgroups import members
from training.nightly.gate.exam import Answers, FrozenTest
from training.nightly.keeping import Keeper
from training.nightly.promotion import open_registered
from training.nightly.report.night import Role

# images whose pixels are held at once, however many there are
_AT_ONCE: Final = 256


@dataclass(frozen=True)
class Pictures:
    """What models are examined on.

    Attributes
    ----------
    items : tuple of Item
        Whose `patient` is the keyed digest.
    """

    examined_on: ExaminedOn
    dataset: Dataset
    items: tuple[Item, ...]

    def frozen(self) -> FrozenTest:
        """Return labels, patients and subgroups as the gate wants them."""
        return FrozenTest(labels_of(self.items), tuple(item.patient for item in self.items), members(self.items, None))


@dataclass(frozen=True)
class Asked:
    """A model that was asked: its answers, and the figures where all of them are numbers."""

    answers: Answers
    examination: Examination | None


def ask(model: LoadedModel, pictures: Pictures, keeper: Keeper, role: Role) -> Asked:
    """Ask one model about all pictures, some at a time.

    A score that is no number stays what it is: the gate refuses it, and there are then no figures.

    Raises
    ------
    DatasetError
        Naming the master that cannot be read.
    """
    items = pictures.items
    step = keeper.stage(f"{role} on {pictures.examined_on.lower()}", len(items))
    scores = np.full(len(items), np.nan)
    for start in range(0, len(items), _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, len(items)))
        examples = load(pictures.dataset, items[rows], model.spec, step)
        scores[rows] = model.runtime.predict(examples.inputs(slice(None)))
    threshold = model.manifest.operating_point.threshold
    sound = bool(((scores >= 0) & (scores <= 1)).all())
    chances = probabilities(scores, model.manifest.calibration) if sound else np.full(len(items), np.nan)
    answers = Answers(model.digest, threshold, scores, chances)
    if not sound or not len(items):
        return Asked(answers, None)
    found = Scored(labels_of(items), scores, chances, patients_of(items))
    return Asked(answers, examine(items, None, found, threshold))


def ask_all(
    settings: Settings, models: Mapping[Role, ModelVersion], pictures: Pictures, keeper: Keeper
) -> dict[Role, Asked]:
    """Ask each model once, one that has two roles too.

    Raises
    ------
    BundleRefused
        If a bundle does not verify.
    """
    found: dict[Role, Asked] = {}
    by_id: dict[int, Asked] = {}
    for role, row in models.items():
        if row.id not in by_id:
            by_id[row.id] = ask(open_registered(settings, row), pictures, keeper, role)
        found[role] = by_id[row.id]
    return found


def canaries(settings: Settings, row: ModelVersion) -> NDArray[np.float64]:
    """Return what a model says of its bundle's own test inputs, float64 of shape (n,)."""
    bundle = verify(locate(row.location, settings.bundles), row.bundle_digest, trusted_keys(settings))
    model = bring_up(bundle, settings.runtime, settings.runtime_threads)
    masters = decode(bundle.files[CHECKS]).masters
    return np.array(model.runtime.predict(np.stack([model.spec.apply(master) for master in masters])), np.float64)


def note(
    session: Session,
    run: NightlyRun,
    pictures: Pictures,
    asked: Mapping[Role, Asked],
    models: Mapping[Role, ModelVersion],
) -> None:
    """Enter the figures of each model, once a night; those that are there stay."""
    patients = len({item.patient for item in pictures.items})
    frozen = select(Snapshot.test_set_id).where(Snapshot.id == run.snapshot_id)
    test_set_id = session.scalar(frozen) if pictures.examined_on is ExaminedOn.TEST else None
    for role, one in asked.items():
        if one.examination is None:
            continue
        new = NewEvaluation(
            model_version_id=models[role].id,
            examined_on=pictures.examined_on,
            test_set_id=test_set_id,
            images=len(pictures.items),
            patients=patients,
            figures={name: found.model_dump() for name, found in one.examination.metrics.items()},
            actor="nightly",
            nightly_run_id=run.id,
        )
        record(session, new)


def keep(folder: Path, pictures: Pictures, asked: Mapping[Role, Asked]) -> None:
    """Write the answers beside the report, so that every figure can be made again; no patient is in it.

    Raises
    ------
    TransientFailure
        If the disk refuses.
    """
    arrays: dict[str, NDArray[Any]] = {"numbers": _numbers(pictures.items), "labels": labels_of(pictures.items)}
    for role, one in asked.items():
        arrays |= {f"{role}_scores": one.answers.scores, f"{role}_probabilities": one.answers.probabilities}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type] # its stub lacks **kwds of arrays
    try:
        make_directories(folder)
        write_durably(folder / f"answers-{pictures.examined_on.lower()}.npz", stream.getvalue())
    except OSError as error:
        message = f"{folder} cannot be written (errno {error.errno}); check space and permissions"
        raise TransientFailure(message) from error


def _numbers(items: Sequence[Item]) -> NDArray[np.int64]:
    return np.array([int(item.key.rpartition("/")[2]) for item in items], np.int64)
