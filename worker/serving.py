"""A model ready to serve, with everything its manifest decides; the only place here that opens bundles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from bundle.familiarity import Familiarity
from bundle.head import Head
from bundle.load import STARTER, STARTER_LOCATION, load_for, locate
from bundle.manifest import Manifest
from bundle.runtime import Runtime
from bundle.signing import trusted_keys
from bundle.store import verify
from core import logging
from core.settings import Settings
from db.registry import NewModel, install_champion_if_none, register
from db.vocabulary import ModelOrigin
from imaging.instance import ReadingRules
from imaging.scope import ScopeRules
from imaging.spec import PreprocessSpec
from worker.batching import AT_ONCE, Collecting
from worker.decide import DecisionRules
from worker.stages import ModelStamp

log: Final = logging.get(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which model the registry wants served."""

    model_version_id: int
    location: str
    digest: str
    version: str


@dataclass(frozen=True, slots=True)
class Serving:
    """A model in service.

    Attributes
    ----------
    wanted : Wanted
        The registry row it was opened for.
    spec : PreprocessSpec
        How masters become its input; from the bundle, never from settings.
    runtime : Runtime
        What scores.
    stamp : ModelStamp
        What its predictions carry.
    reading_rules : ReadingRules
        What is in scope for it here.
    familiarity : Familiarity or None
        What tells images unlike the training data, where the bundle has it.
    head : Head or None
        What makes heatmaps, likewise.
    collecting : Collecting
        How images are brought together for it.
    """

    wanted: Wanted
    spec: PreprocessSpec
    runtime: Runtime
    stamp: ModelStamp
    reading_rules: ReadingRules
    familiarity: Familiarity | None = None
    head: Head | None = None
    collecting: Collecting = AT_ONCE


def open_bundle(settings: Settings, wanted: Wanted) -> Serving:
    """Verify, load and check a registered bundle.

    Raises
    ------
    BundleRefused
        Whatever is wrong with it.
    """
    loaded = load_for(settings, locate(wanted.location, settings.bundles), wanted.digest)
    stamp = ModelStamp(
        model_version_id=wanted.model_version_id,
        preprocess_digest=loaded.manifest.preprocess_digest,
        runtime=loaded.runtime.name,
        rules=decision_rules(loaded.manifest, loaded.spec, settings.site_prevalence),
    )
    ages = loaded.manifest.intended_use.age_days
    rules = reading_rules(settings, ages)
    seconds = settings.inference_wait_seconds if loaded.runtime.batches_pay else 0.0
    collecting = Collecting(settings.inference_batch, seconds)
    return Serving(wanted, loaded.spec, loaded.runtime, stamp, rules, loaded.familiarity, loaded.head, collecting)


def reading_rules(settings: Settings, ages_days: tuple[float, float]) -> ReadingRules:
    """Combine what the site configured with what the model was made for."""
    return ReadingRules(
        scope=ScopeRules.from_settings(settings, ages_days),
        maximum_decoded_bytes=settings.maximum_decoded_bytes,
        keep_patient_name=settings.store_patient_name,
    )


def decision_rules(manifest: Manifest, spec: PreprocessSpec, site_prevalence: float | None) -> DecisionRules:
    """Take from a manifest what `worker.decide` needs."""
    return DecisionRules(
        threshold=manifest.operating_point.threshold,
        uncertain_low=manifest.uncertainty.low,
        uncertain_high=manifest.uncertainty.high,
        calibration=manifest.calibration,
        site_prevalence=site_prevalence,
        smallest_side=spec.triangle_size,
        unfamiliar_from=None if manifest.familiarity is None else manifest.familiarity.threshold,
    )


def install_starter(settings: Settings, session: Session) -> None:
    """Register the shipped bundle and make it champion where there is none; safe from many workers at once.

    Raises
    ------
    BundleRefused
        If it is missing or not as it was shipped.
    """
    bundle = verify(STARTER, None, trusted_keys(settings))
    new = NewModel.of(
        bundle.manifest.model_dump(mode="json"),
        origin=ModelOrigin.STARTER,
        bundle_digest=bundle.digest,
        location=STARTER_LOCATION,
    )
    row = register(session, new)
    if install_champion_if_none(session, row.id):
        log.info("starter_installed", model_version_id=row.id, version=new.version)
