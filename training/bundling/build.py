"""From a data set to a signed bundle: fit, calibrate, choose the operating point, score the test once, write."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bundle.errors import BundleRefused
from bundle.familiarity import Familiarity
from bundle.litert import LiteRTRuntime
from bundle.manifest import (
    CHECKS,
    FAMILIARITY,
    FITTED_PATIENTS,
    FORMAT,
    HEAD,
    LITERT,
    MODEL_CARD,
    POSITIVE,
    WEIGHTS,
    Data,
    IntendedUse,
    Manifest,
    Unfamiliarity,
)
from bundle.runtime import Runtime
from bundle.store import digests, write
from core.logging import get
from imaging.instance import ReadingRules
from imaging.spec import PreprocessSpec
from training.alone import alone
from training.bundling.card import model_card
from training.bundling.card_figures import draw
from training.bundling.claims import Claims
from training.bundling.convert import to_litert
from training.bundling.head import head_of
from training.bundling.patterns import make_checks
from training.datasets.assignment import Assignment, assign, digests_of
from training.datasets.dataset import LABELS, Dataset, Item, open_dataset
from training.datasets.patients import Split, patient_digest
from training.datasets.pictures import remember, remembered
from training.datasets.pixels import Examples, Kept, Squares, load, load_squares
from training.drawing import require_matplotlib
from training.errors import DatasetError, FitFailed
from training.examination import calibrate, operating_point
from training.examination.examine import examine
from training.examination.score import score, scored
from training.familiarity import learning
from training.familiarity.noticing import notice, spaced
from training.familiarity.unlike import REPORTED, Master
from training.fitting.board import Board
from training.fitting.computing import Computing, Precision, choose
from training.fitting.fit import fit
from training.fitting.frozen import backbone_digest, fit_frozen
from training.fitting.hardened import fit_hardened
from training.fitting.recipe import AnyRecipe, HardenedRecipe, Recipe
from training.fitting.run import Epoch, Run
from training.fitting.weights import weights_of

_log = get(__name__)

_LIBRARIES: Final = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")
# whoever chose the epoch shaped the weights as well
_FITTED: Final = (Split.FIT, Split.WATCH)
_SCORED: Final = (Split.WATCH, Split.VALIDATION, Split.TEST)


@dataclass(frozen=True)
class Source:
    """What a bundle is made from.

    Attributes
    ----------
    name, attribution : str
        Of the data, for the manifest.
    intended_use : IntendedUse
    digest_of : callable
        From an item's patient to the keyed digest that the bundle remembers it by.
    """

    dataset: Dataset
    assignment: Assignment
    name: str
    attribution: str
    intended_use: IntendedUse
    digest_of: Callable[[str], str]


@dataclass(frozen=True)
class Parent:
    """The bundle that a fit starts from.

    Attributes
    ----------
    digest : str
        Its own, kept in the new bundle's manifest.
    network : callable
        Builds it.
    """

    digest: str
    network: Callable[[], Any]


class Watcher(Protocol):
    """Who is told how far training has come."""

    def stage(self, name: str, total: int) -> Callable[[], None]:
        """Begin a stage of so many steps; returns what to call after each step."""
        ...

    def epoch(self, epoch: Epoch) -> None:
        """Hear what an epoch came to."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What to train and where to put it.

    Attributes
    ----------
    out : Path
        The bundle's directory; must not exist. Work in progress lies beside
        it in ``<out>.partial`` and is what an interrupted run resumes from.
    required_sensitivity : float
        What the lower bound at the operating point must reach.
    unlike : int
        Pictures of each class of `training.familiarity.unlike` that the unfamiliarity score is measured with; drawing
        them takes minutes.
    precision, devices
        See `training.fitting.computing.choose`.
    cache : Path, optional
        Where decoded images, and what a frozen backbone makes of them, are kept; else in `partial`. Runs on the same
        data may share it.
    board : Path, optional
        Folder for TensorBoard's files.
    parent : Parent, optional
        Whose weights a hardened fit starts from.
    rules : ReadingRules, optional
        What DICOM files are held against, see `training.datasets.dataset.open_dataset`.
    claims : Claims
        What is said of the data; `build_from` has it in its `Source`.
    """

    recipe: AnyRecipe
    data: Path
    out: Path
    name: str
    version: str
    required_sensitivity: float = operating_point.REQUIRED_SENSITIVITY
    unlike: int = 0
    precision: Precision = Precision.FLOAT32
    devices: int | None = 1
    cache: Path | None = None
    board: Path | None = None
    parent: Parent | None = None
    rules: ReadingRules | None = None
    claims: Claims = field(default_factory=Claims)

    @property
    def spec(self) -> PreprocessSpec:
        """The recipe's preprocessing."""
        return self.recipe.spec

    @property
    def partial(self) -> Path:
        """Where work in progress lies."""
        return self.out.with_name(f"{self.out.name}.partial")

    @property
    def kept(self) -> Path:
        """Where what was decoded lies."""
        return self.cache or self.partial / "images"


def build(order: Order, key: Ed25519PrivateKey, now: datetime, watcher: Watcher) -> tuple[Manifest, str]:
    """Train a model and write its bundle.

    The frozen test share shapes nothing: it is scored once, after every
    choice is made, for the manifest's figures.

    Returns
    -------
    Manifest
    digest : str
        The bundle's, SHA-256 of its manifest.

    Raises
    ------
    DatasetError, FitFailed, BundleRefused
        Saying what to do; no half-written bundle is left. So where another run of the same order is at work.
    """
    refuse_to_overwrite(order)
    with open_dataset(order.data, order.rules) as dataset:
        dataset.require_classes()
        name, attribution, intended_use = order.claims.of(dataset)
        step = watcher.stage("look for copies", len(dataset.items))
        assignment = assign(dataset, digests=digests_of(dataset, step, remembered(order.kept)))
        source = Source(dataset, assignment, name, attribution, intended_use, patient_digest)
        return build_from(order, source, key, now, watcher, holding=alone)


def refuse_to_overwrite(order: Order) -> None:
    """Raise `BundleRefused` where something lies already where the bundle is to be."""
    if order.out.exists():
        raise BundleRefused(f"{order.out} exists already; choose another --out, bundles are never overwritten")


def build_from(  # noqa: PLR0917 - as `build`, and what it works in
    order: Order,
    source: Source,
    key: Ed25519PrivateKey,
    now: datetime,
    watcher: Watcher,
    holding: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> tuple[Manifest, str]:
    """Train a model on what is assigned already and write its bundle; as `build`.

    Parameters
    ----------
    holding : callable
        Gives what is held on the working folder meanwhile. A night holds its lease and nothing here: who goes on with
        it must not wait for a holder that was stopped and lost it.
    """
    refuse_to_overwrite(order)
    require_matplotlib()
    _refuse_too_few(source.assignment, order.required_sensitivity)
    with holding(order.partial):
        return _build(order, source, key, now, watcher)


def _build(
    order: Order, source: Source, key: Ed25519PrivateKey, now: datetime, watcher: Watcher
) -> tuple[Manifest, str]:
    dataset, assignment = source.dataset, source.assignment
    work = _begin(order, assignment)
    # a run that goes on decodes nothing to look for copies
    remember(order.kept, assignment.digests)
    order = replace(order, precision=work.computing.precision)
    examples = {}
    with _nothing_left_of(order.partial, work.run):
        for split in _SCORED:
            items = assignment.items[split]
            step = watcher.stage(f"read {split}", len(items))
            examples[split] = load(dataset, items, order.spec, step, work.kept)
        model, best, train = _fit(order, work, dataset, assignment.items[Split.FIT], examples[Split.WATCH], watcher)
    step = watcher.stage(f"describe {Split.FIT}", len(train))
    if isinstance(train, Squares):
        known = learning.of_squares(train, order.spec, step)
    else:
        known = learning.of_examples(train, step)
    chests = [dataset.master(item) for item in spaced(assignment.items[Split.TEST], order.unlike)]
    files = {WEIGHTS: weights_of(model), LITERT: to_litert(model)}
    runtime = LiteRTRuntime(files[LITERT], 1, LABELS.index(POSITIVE), len(LABELS))
    if (head := head_of(model, runtime, examples[Split.VALIDATION])) is not None:
        files[HEAD] = head.encode()
    learned = learning.fit(known, learning.of_examples(examples[Split.WATCH]))
    files[FAMILIARITY] = learned.encode()
    noticing = _noticing(order, learned, examples, chests, watcher)
    return _write(order, key, now, source, examples, files, best, noticing, watcher)


def _noticing(
    order: Order, learned: Familiarity, examples: dict[Split, Examples], chests: list[Master], watcher: Watcher
) -> Unfamiliarity:
    """Choose from where on an image is unfamiliar, and count what that notices where it was asked for."""
    chosen = learning.choose(learned, examples[Split.VALIDATION], examples[Split.TEST])
    if not chests:
        return chosen
    step = watcher.stage("unlike pictures", len(REPORTED) * order.unlike)
    noticed = notice(learned, order.spec, chosen.threshold, chests, order.unlike, advance=step)
    return chosen.model_copy(update={"noticed": noticed})


@dataclass(frozen=True, slots=True)
class _Work:
    """What a fit works with: processors, images on disk, and how far it has come."""

    computing: Computing
    kept: Kept
    fingerprint: str
    run: Run


def _begin(order: Order, assignment: Assignment) -> _Work:
    digest = assignment.data_digest()
    computing = choose(order.precision, order.devices, order.recipe.batch_size)
    fingerprint = computing.fingerprint(order.recipe.fingerprint(digest, order.spec.digest()))
    # another start is another fit, and so is another backbone of the same name
    started_from = None if order.parent is None else order.parent.digest
    if isinstance(order.recipe, Recipe) and order.recipe.backbone_weights is not None:
        started_from = backbone_digest(order.recipe)
    if started_from is not None:
        fingerprint = hashlib.sha256(f"{fingerprint}\n{started_from}".encode()).hexdigest()
    run = Run.start_or_resume(order.partial, fingerprint)
    return _Work(computing, Kept(order.kept, digest), fingerprint, run)


@contextmanager
def _nothing_left_of(partial: Path, run: Run) -> Iterator[None]:
    """Remove a working folder in which nothing was done yet where the data are refused: corrected, they are others."""
    try:
        yield
    except DatasetError:
        if not run.epochs:
            shutil.rmtree(partial)
        raise


def _fit(  # noqa: PLR0917 - what, with what, on what
    order: Order, work: _Work, dataset: Dataset, items: Sequence[Item], watch: Examples, watcher: Watcher
) -> tuple[Any, Epoch, Examples | Squares]:
    """Fit, or go on fitting, and return the network, the epoch it is of, and the images it was fitted on."""
    recipe = order.recipe
    read = watcher.stage(f"read {Split.FIT}", len(items))
    steps = -(-len(items) // recipe.batch_size)
    step = watcher.stage("fit", recipe.epochs * steps)
    _many(step)(len(work.run.epochs) * steps)

    def advance(_epoch: int, _batch: int) -> None:
        step()

    with ExitStack() as stack:
        board = stack.enter_context(closing(Board(order.board))) if order.board else None

        def report(epoch: Epoch) -> None:
            if board is not None:
                board.epoch(epoch)
            watcher.epoch(epoch)

        told: dict[str, Any] = {"report": report, "advance": advance, "computing": work.computing}
        match recipe:
            case Recipe():
                train = load(dataset, items, order.spec, read, work.kept)
                if recipe.backbone_weights is None:
                    model = fit(recipe, work.run, work.fingerprint, train, watch, **told)
                else:
                    told["seen"] = _many(watcher.stage("features of the backbone", len(train) + len(watch)))
                    model = fit_frozen(recipe, work.run, work.fingerprint, train, watch, cache=order.cache, **told)
                return model, Run.start_or_resume(order.partial, work.fingerprint).best, train
            case HardenedRecipe():
                squares = load_squares(dataset, items, order.spec, read, work.kept)
                start = None if order.parent is None else order.parent.network
                model = fit_hardened(
                    recipe, order.spec, work.run, work.fingerprint, squares, watch, start=start, **told
                )
                return model, Run.start_or_resume(order.partial, work.fingerprint).epochs[-1], squares


def _refuse_too_few(assignment: Assignment, required: float) -> None:
    """Say before hours are spent that a split has too few patients."""
    for split in (Split.FIT, Split.WATCH, Split.VALIDATION):
        for label in LABELS:
            if not any(item.label == label for item in assignment.items[split]):
                raise FitFailed(f"no image of class {label} falls to the patients of the split {split}; use more data")
    ill = {item.patient for item in assignment.items[Split.VALIDATION] if item.label == POSITIVE}
    operating_point.refuse_too_few(len(ill), required)


def _write(  # noqa: PLR0917 - one call, every part of the bundle comes together here
    order: Order,
    key: Ed25519PrivateKey,
    now: datetime,
    source: Source,
    examples: dict[Split, Examples],
    files: dict[str, bytes],
    best: Epoch,
    noticing: Unfamiliarity,
    watcher: Watcher,
) -> tuple[Manifest, str]:
    runtime = LiteRTRuntime(files[LITERT], 1, LABELS.index(POSITIVE), len(LABELS))
    files[CHECKS] = make_checks(lambda master: float(runtime.predict(order.spec.apply(master)[np.newaxis])[0])).encode()
    fitted = sorted({source.digest_of(item.patient) for split in _FITTED for item in source.assignment.items[split]})
    files[FITTED_PATIENTS] = "".join(f"{digest}\n" for digest in fitted).encode()

    validation = examples[Split.VALIDATION]
    raw = _score(runtime, validation, watcher, "score validation")
    calibration = calibrate.platt(validation.labels, raw)
    held_out = scored(validation, raw, calibration)
    point, band = operating_point.choose(held_out, order.required_sensitivity)
    judged = {Split.VALIDATION: held_out}
    if len(examples[Split.TEST]):
        # the only look at the test share, when nothing can change any more
        tested = _score(runtime, examples[Split.TEST], watcher, "score test")
        judged[Split.TEST] = scored(examples[Split.TEST], tested, calibration)
    examined = {
        split.value: examine(examples[split].items, examples[split].sizes, part, point.threshold)
        for split, part in judged.items()
    }
    files |= draw(list(judged.values())[-1], point, band)
    manifest = Manifest(
        format=FORMAT,
        name=order.name,
        version=order.version,
        created_at=now.isoformat(timespec="seconds"),
        architecture=order.recipe.architecture,
        labels=LABELS,
        preprocess=order.spec.to_dict(),
        preprocess_digest=order.spec.digest(),
        calibration=calibration,
        operating_point=point,
        uncertainty=band,
        familiarity=noticing,
        intended_use=source.intended_use,
        data=_data(source, files[FITTED_PATIENTS]),
        training={**order.recipe.to_dict(), "precision": order.precision.value, **_ended(order.recipe, best)},
        metrics={split: found.metrics for split, found in examined.items()},
        predictive_values={split: found.predictive_values for split, found in examined.items()},
        subgroups={split: found.subgroups for split, found in examined.items()},
        libraries={name: library_version(name) for name in _LIBRARIES},
        attribution=source.attribution,
        parent=None if order.parent is None else order.parent.digest,
        files=digests({**files, MODEL_CARD: b""}),
    )
    files[MODEL_CARD] = model_card(manifest).encode()
    manifest = manifest.model_copy(update={"files": digests(files)})
    digest = write(order.out, manifest, files, key)
    _log.info("bundle_written", model=manifest.title, threshold=point.threshold)
    return manifest, digest


def _ended(recipe: AnyRecipe, epoch: Epoch) -> dict[str, Any]:
    """Say which epoch the weights are of: one chosen on the watched patients, or the last there was."""
    ended = "epoch_chosen" if isinstance(recipe, Recipe) else "epochs_done"
    return {ended: epoch.number, "watch_loss": round(epoch.watch_loss, 5)}


def _score(runtime: Runtime, examples: Examples, watcher: Watcher, stage: str) -> Any:
    return score(runtime, examples, _many(watcher.stage(stage, len(examples))))


def _many(step: Callable[[], None]) -> Callable[[int], None]:
    """Return what to tell of several steps at once."""

    def advance(count: int) -> None:
        for _ in range(count):
            step()

    return advance


def _data(source: Source, fitted_patients: bytes) -> Data:
    assignment = source.assignment
    used = {
        split: assignment.items[split] for split in (Split.FIT, *_SCORED, Split.RESERVED) if assignment.items[split]
    }
    return Data(
        name=source.name,
        digest=assignment.data_digest(),
        images={
            split.value: {label: sum(item.label == label for item in items) for label in LABELS}
            for split, items in used.items()
        },
        patients={split.value: len({item.patient for item in items}) for split, items in used.items()},
        patients_fitted_digest=hashlib.sha256(fitted_patients).hexdigest(),
    )
