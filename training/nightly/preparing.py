"""The night's first step: labels that follow the verdicts, the snapshot, and what the night does with them."""

from __future__ import annotations

from datetime import date

from core import failpoints
from core.errors import TransientFailure
from db import nightly_runs as runs
from db.label_evidence import evidence
from db.labels import record as record_labels
from db.models.learning import NightlyRun
from db.models.model import ModelVersion
from db.registry import champion
from db.selection import labelled
from db.vocabulary import NightKind, NightStep, Share
from training.errors import FitFailed
from training.labels.derive import derive, digests, patient_key
from training.nightly import challenger, plan
from training.nightly.ancestry import ancestry
from training.nightly.snapshot.changes import new_labels, unlearnt
from training.nightly.snapshot.manifest import Manifest
from training.nightly.snapshot.take import take
from training.nightly.under_way import UnderWay


def prepare(night: UnderWay) -> Manifest:
    """Return what the night learns from and is judged on; decided once, and then read back.

    Raises
    ------
    FitFailed
        If no model is in service, or no picture of the frozen test set has its pixels.
    """
    tonight = night.tonight
    settings = tonight.settings
    with night.step(NightStep.SNAPSHOT):
        row = night.row()
        if row.snapshot_id is not None:
            return night.read(row.snapshot_id)
        with tonight.sessions() as session, session.begin():
            key = patient_key(settings, session)
            record_labels(session, derive(evidence(session), digests(key)).wanted)
        with tonight.readers() as session:
            before = runs.unfinished_fit(session, tonight.night, tonight.night - plan.LONGEST_FIT)
            shadowed = runs.in_shadow(session, tonight.night)
            reign = champion(session)
        if reign is None:
            raise FitFailed("no model is in service yet: start a worker first, it installs the starter")
        before = _goes_on(night, before, reign.model.id)
        if before is None or before.snapshot_id is None:
            _refuse_without_masters(night)
            snapshot_id, manifest = take(settings, tonight.sessions)
        else:
            snapshot_id, manifest = before.snapshot_id, night.read(before.snapshot_id)
        failpoints.reach("nightly.snapshot")
        _refuse_without_pixels(manifest)
        work = tonight.night.isoformat() if before is None or before.work is None else before.work
        fresh = _new_labels(night, manifest, reign.model)
        fine = tonight.recipes(date.fromisoformat(work))[NightKind.FINE_TUNE]
        standing = plan.Standing(
            new_labels=fresh,
            frozen_test=manifest.test_set is not None,
            both_classes=_both_classes(manifest),
            in_shadow=shadowed is not None,
            goes_on=None if before is None else before.kind,
            same_architecture=challenger.same_network(reign.model, fine),
        )
        chosen = plan.choose(tonight.night, standing, settings.nightly_minimum_labels, settings.nightly_scratch_weekday)
        challenger.clear_away(settings, keep=work)
        night.note(
            snapshot_id=snapshot_id,
            new_labels=fresh,
            kind=chosen.kind,
            plan=chosen.why,
            work=work if chosen.kind is not NightKind.EVALUATE else None,
            champion_id=reign.model.id,
            champion_token=reign.fencing_token,
            anchor_id=reign.anchor_id,
        )
    failpoints.reach("nightly.planned")
    return manifest


def _goes_on(night: UnderWay, before: NightlyRun | None, champion_id: int) -> NightlyRun | None:
    """Return the night before if its fit is worth going on with."""
    if before is None or before.work is None or before.snapshot_id is None:
        return None
    # a fine-tuning of another champion is another fit
    if before.kind is NightKind.FINE_TUNE and before.champion_id != champion_id:
        return None
    # what it learns from would be old
    too_old = night.tonight.night - date.fromisoformat(before.work) > plan.LONGEST_FIT
    return None if too_old else before


def _both_classes(manifest: Manifest) -> bool:
    """Whether the frozen test set has images with and without pneumonia."""
    return len({picture.label for picture in manifest.pictures if picture.share is Share.TEST}) > 1


def _refuse_without_masters(night: UnderWay) -> None:
    """Refuse where the masters are not mounted: everything labelled would count as lost.

    Raises
    ------
    TransientFailure
        If there are labels and no directory of masters.
    """
    masters = night.tonight.settings.masters
    with night.tonight.readers() as session:
        if labelled(session, 1) and not masters.is_dir():
            raise TransientFailure(f"{masters} is not there, and labelled pictures are; mount the data directory whole")


def _refuse_without_pixels(manifest: Manifest) -> None:
    """Refuse a night that could examine nothing because the masters are away, and would pass for a quiet one.

    Raises
    ------
    FitFailed
        If a test set is frozen, and none of its pictures has its pixels.
    """
    if manifest.test_set is not None and not any(picture.share is Share.TEST for picture in manifest.pictures):
        raise FitFailed(
            f"no picture of the frozen test set has its pixels, and {len(manifest.gone)} labelled pictures have lost "
            "theirs: is masters/ in the data directory mounted here?"
        )


def _new_labels(night: UnderWay, manifest: Manifest, model: ModelVersion) -> int:
    """Count what no challenger has learnt from yet, nor the champion."""
    with night.tonight.readers() as session:
        former = runs.last_learnt(session, night.tonight.night)
        if former is not None and former.snapshot_id is not None:
            return new_labels(manifest, night.read(former.snapshot_id))
        known = ancestry(night.tonight.settings, session, model.id).values()
    return unlearnt(manifest, frozenset[str]().union(*(patients or () for patients in known)))
