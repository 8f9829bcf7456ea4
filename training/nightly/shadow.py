"""Shadow mode: a challenger scores live studies for some days before it may be promoted, and nobody sees what it says.

The nightly job does it, from masters, after the workers have judged the same
images with the champion: no live study waits for a challenger, and none of its
answers is near a flag, a list or a view (`db.shadow`). Nobody knows yet what
is right on these images, so this asks no more than whether the challenger
behaves on the site's own images of today: whether it suspects about as many as the champion does, and gives an
answer about as often. That it is better is for the gate to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session, sessionmaker

from bundle.load import LoadedModel, load_for, locate
from bundle.manifest import Manifest
from core import failpoints, logging
from core.errors import TransientFailure
from core.logging import safe_error
from core.settings import Settings
from db.models.model import ModelVersion
from db.shadow import Live, Said, Tally, note, tally, unscored
from db.vocabulary import Outcome
from imaging.master import MissingMaster, load_master

log = logging.get(__name__)

# inputs in memory at once
_BATCH: Final = 32


class ShadowVerdict(StrEnum):
    """What the days in the shadow say of a promotion."""

    WAITS = "WAITS"
    """Too few days or images yet."""
    PASSED = "PASSED"
    FAILED = "FAILED"
    """It suspects, or gives no result, too unlike the champion."""


@dataclass(frozen=True, slots=True)
class ShadowRun:
    """What one night scored.

    Attributes
    ----------
    scored : int
        Images.
    without_master : int
        Images whose master is gone; they count in nothing.
    """

    scored: int
    without_master: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a challenger stands after some time in the shadow.

    Attributes
    ----------
    days : float
        Since it began.
    tally : Tally
        What it and the champion said of the same images.
    verdict : ShadowVerdict
    words : tuple of str
        Why, for a person.
    """

    days: float
    tally: Tally
    verdict: ShadowVerdict
    words: tuple[str, ...]

    @property
    def may_be_promoted(self) -> bool:
        """Whether shadow mode has nothing against it."""
        return self.verdict is ShadowVerdict.PASSED

    @property
    def suspected(self) -> float | None:
        """Share of the images that the challenger suspects, None without images."""
        return _share(self.tally.suspected, self.tally.compared)

    @property
    def champion_suspected(self) -> float | None:
        """Share of the same images that the champion suspects."""
        return _share(self.tally.champion_suspected, self.tally.compared)


def score_live(
    settings: Settings,
    sessions: sessionmaker[Session],
    model_version_id: int,
    since: datetime,
    advance: Callable[[int], None] = lambda _: None,
) -> ShadowRun:
    """Score the live images received since then with a challenger's bundle, and keep what it says unseen.

    May be ended and begun anew at any time: each batch is committed, and what
    was scored is passed over. Memory is bounded by one batch and one page of studies.

    Parameters
    ----------
    settings : Settings
        Where bundles and masters lie, and which runtime scores.
    sessions : sessionmaker
        The ledger.
    model_version_id : int
        The challenger, registered.
    since : datetime
        Only studies of which something was received at or after this.
    advance : callable
        Told how many images were done, after each batch is committed; what it raises ends the run.

    Raises
    ------
    BundleRefused
        If the bundle is not what was registered.
    TransientFailure
        If the masters cannot be read on this host.
    """
    with sessions.begin() as session:
        row = session.get_one(ModelVersion, model_version_id)
    model = load_for(settings, locate(row.location, settings.bundles), row.bundle_digest)
    masters = settings.masters.resolve()
    done = lost = 0
    mark = None
    while True:
        with sessions.begin() as session:
            live, mark = unscored(session, model_version_id, since, mark)
        if mark is None:
            break
        if live and not masters.is_dir():
            message = f"there is no masters directory at {masters}; mount it where the nightly job runs"
            raise TransientFailure(message)
        for start in range(0, len(live), _BATCH):
            batch = live[start : start + _BATCH]
            said = _score(model, masters, batch)
            with sessions.begin() as session:
                note(session, model_version_id, said)
            failpoints.reach("shadow_scored")
            done += len(said)
            lost += len(batch) - len(said)
            advance(len(batch))
    log.info("shadow_scored", model_version_id=model_version_id, images=done, without_master=lost)
    return ShadowRun(done, lost)


def standing(
    session: Session, settings: Settings, model_version_id: int, champion_id: int, *, since: datetime, now: datetime
) -> Standing:
    """Say whether a challenger has been in the shadow for long enough, and behaved there.

    Parameters
    ----------
    session : Session
        A reader.
    model_version_id, champion_id : int
        The challenger, and whom it would replace.
    since, now : datetime
        When it went into the shadow, and the time of asking.
    """
    return judged(tally(session, model_version_id, champion_id, since), (now - since) / timedelta(days=1), settings)


def judged(found: Tally, days: float, settings: Settings) -> Standing:
    """Say what counts of so many days mean; pure."""
    if settings.shadow_days <= 0:
        return Standing(days, found, ShadowVerdict.PASSED, ("No days in the shadow are asked for.",))
    lacking = []
    if days < settings.shadow_days:
        lacking.append(f"It has been in the shadow for {days:.1f} of {settings.shadow_days:g} days.")
    if found.compared < settings.shadow_images:
        lacking.append(f"It and the champion scored {found.compared} of {settings.shadow_images} live images.")
    if lacking:
        return Standing(days, found, ShadowVerdict.WAITS, tuple(lacking))
    unlike = _unlike(found, settings)
    if unlike:
        return Standing(days, found, ShadowVerdict.FAILED, tuple(unlike))
    words = f"On {found.compared} live images it behaves as the champion does, within the margins."
    return Standing(days, found, ShadowVerdict.PASSED, (words,))


def _unlike(found: Tally, settings: Settings) -> list[str]:
    n = found.compared
    suspected, champion = found.suspected / n, found.champion_suspected / n
    # unequal to the margin by rounding is still within it
    near = 1e-9
    words = []
    if abs(suspected - champion) > settings.shadow_suspected_margin + near:
        words.append(
            f"Of {n} live images it suspects {suspected:.1%}, the champion {champion:.1%}: more than "
            f"{settings.shadow_suspected_margin:.1%} apart."
        )
    silent, champion = found.no_result / n, found.champion_no_result / n
    if silent - champion > settings.shadow_no_result_margin + near:
        words.append(
            f"Of {n} live images it gives no result on {silent:.1%}, the champion on {champion:.1%}: more than "
            f"{settings.shadow_no_result_margin:.1%} above."
        )
    return words


def _score(model: LoadedModel, masters: Path, batch: Sequence[Live]) -> list[Said]:
    inputs, present = [], []
    for one in batch:
        try:
            inputs.append(model.spec.apply(load_master(masters, one.master_digest)))
        except MissingMaster:
            continue
        present.append(one)
    if not present:
        return []
    stacked = np.stack(inputs)
    scores = _predict(model, stacked)
    strange = None if model.familiarity is None else model.familiarity.unfamiliarity(stacked)
    return [
        Said(
            one.image_id,
            one.image_revision,
            outcome(score, None if strange is None else float(strange[row]), model.manifest),
            score if math.isfinite(score) else None,
        )
        for row, (one, score) in enumerate(zip(present, map(float, scores), strict=True))
    ]


def _predict(model: LoadedModel, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Score a batch; where that fails, image by image, and NaN for the one it fails on."""
    try:
        found = np.asarray(model.runtime.predict(inputs), np.float64)
        if found.shape == (len(inputs),):
            return found
    except Exception as error:  # noqa: BLE001 - a runtime raises what it likes, and one image must not end the night
        log.warning("shadow_batch_failed", images=len(inputs), **safe_error(error))
    if len(inputs) == 1:
        return np.full(1, np.nan)
    return np.concatenate([_predict(model, inputs[row : row + 1]) for row in range(len(inputs))])


def outcome(score: float, unfamiliarity: float | None, manifest: Manifest) -> Outcome:
    """Say what a worker would say of this score (`worker.decide`, which training may not import; a test compares)."""
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        return Outcome.NO_RESULT
    if score >= manifest.operating_point.threshold:
        return Outcome.SUSPECTED
    limit = None if manifest.familiarity is None else manifest.familiarity.threshold
    if limit is not None and not (unfamiliarity is not None and unfamiliarity < limit):  # also NaN
        return Outcome.NO_RESULT
    return Outcome.NOT_SUSPECTED


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
