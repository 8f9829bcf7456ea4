"""What the report is told of a night: everything that was found out, as far as it came."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from core.errors import LungwatchError
from core.settings import Settings
from db.models.learning import Snapshot, TestSet
from db.vocabulary import ExaminedOn, ImageClass, LabelOrigin, NightStep, Side
from imaging.master import load_master
from training.fitting.run import Epoch, recorded
from training.nightly import challenger
from training.nightly.drift.result import Drift
from training.nightly.gate.decision import Decision
from training.nightly.report.choosing import disagreements
from training.nightly.report.night import (
    Disagreement,
    DriftPanel,
    DriftShown,
    Examined,
    LabelCounts,
    Material,
    Model,
    Night,
    Role,
    StepTaken,
)
from training.nightly.report.write import write as write_report
from training.nightly.snapshot.changes import changed_in_test
from training.nightly.under_way import Ending, UnderWay

_SETTINGS: Final = ("nightly_", "gate_", "drift_", "shadow_", "rescore_", "site_prevalence")


def write(night: UnderWay, ending: Ending) -> None:
    """Write the night's report into its folder; writing it again replaces it.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    write_report(night.folder, tell(night, ending))


def tell(night: UnderWay, ending: Ending) -> Night:
    """Return what the report is made from."""
    tonight, row = night.tonight, night.row()
    titles = [
        Model(role, f"{model.name} {model.version}", model.bundle_digest, model.threshold)
        for role, model in sorted(night.models.items(), key=lambda pair: list(Role).index(pair[0]))
        if role in _roles(night)
    ]
    return Night(
        night=tonight.night,
        state=ending.state,
        kind=row.kind,
        reason=ending.reason,
        started_at=row.started_at,
        finished_at=tonight.now,
        notes=_notes(night.tonight.night.isoformat(), row.work),
        steps=tuple(StepTaken(step, row.seconds[step]) for step in NightStep if step in row.seconds),
        settings=_settings(tonight.settings),
        material=_material(night),
        labels=_labels(night),
        models=tuple(titles),
        test=_examined(night, ExaminedOn.TEST),
        recent=_examined(night, ExaminedOn.RECENT),
        decision=_decision(row.decision),
        drift=None if row.drift is None else _drift(Drift.model_validate(row.drift)),
        epochs=_epochs(night, row.work),
        disagreements=tuple(_disagreements(night)),
    )


def _notes(night: str, work: str | None) -> tuple[str, ...]:
    """Say what the figures alone do not: that the challenger learnt from an earlier night's snapshot."""
    return () if work in {None, night} else (f"The challenger's fit began in the night of {work}, from its snapshot.",)


def _decision(stored: dict[str, Any] | None) -> Decision | None:
    try:
        return None if stored is None else Decision.model_validate(stored)
    except ValidationError:
        # of another release; the row has it all the same
        return None


def _roles(night: UnderWay) -> tuple[Role, ...]:
    """Return the roles that are shown: an anchor that is the champion says nothing new."""
    same = Role.ANCHOR in night.models and night.models[Role.ANCHOR].id == night.models[Role.CHAMPION].id
    return tuple(role for role in Role if role in night.models and not (same and role is Role.ANCHOR))


def _settings(settings: Settings) -> dict[str, str]:
    return {name: str(value) for name, value in settings.model_dump().items() if name.startswith(_SETTINGS)}


def _material(night: UnderWay) -> Material | None:
    manifest, row = night.manifest, night.row()
    if manifest is None or row.snapshot_id is None:
        return None
    counts = {side: dict.fromkeys(ImageClass, 0) for side in Side}
    for picture in manifest.pictures:
        counts[picture.side][picture.label] += 1
    with night.tonight.readers() as session:
        snapshot = session.get_one(Snapshot, row.snapshot_id)
        test_set = None if snapshot.test_set_id is None else session.get_one(TestSet, snapshot.test_set_id).version
    return Material(
        digest=manifest.digest,
        test_set=test_set,
        counts=counts,
        patients=manifest.patients,
        pixels_gone=len(manifest.gone),
        changed_in_test=len(changed_in_test(manifest)),
    )


def _labels(night: UnderWay) -> LabelCounts | None:
    if night.manifest is None:
        return None
    by_origin = {origin: dict.fromkeys(ImageClass, 0) for origin in LabelOrigin}
    for picture in night.manifest.pictures:
        by_origin[picture.origin][picture.label] += 1
    return LabelCounts(by_origin, night.row().new_labels or 0, night.tonight.settings.nightly_minimum_labels)


def _examined(night: UnderWay, where: ExaminedOn) -> Examined | None:
    pictures, asked = night.pictures.get(where), night.asked.get(where)
    if pictures is None or asked is None or not pictures.items:
        return None
    return Examined(
        pictures.frozen(),
        {role: asked[role].answers for role in _roles(night) if role in asked},
        {
            role: one.examination.metrics
            for role, one in asked.items()
            if role in _roles(night) and one.examination is not None
        },
    )


def _drift(drift: Drift) -> DriftShown:
    panels = tuple(
        DriftPanel(
            name=measure.name,
            level=measure.level.value,
            words=measure.words,
            edges=measure.edges or (),
            categories=measure.categories or (),
            reference=measure.reference_shares,
            recent=measure.recent_shares,
        )
        for measure in drift.measures
    )
    return DriftShown(drift.level.value, drift.blocks, drift.words, panels)


def _epochs(night: UnderWay, work: str | None) -> tuple[Epoch, ...]:
    """Return what the fit's epochs came to, also of one that is not finished."""
    if work is None:
        return ()
    bundles = night.tonight.settings.bundles
    folders = [*night.tonight.folder.glob("*"), challenger.partial(bundles, work)]
    return max((recorded(folder) for folder in folders), key=len)


def _disagreements(night: UnderWay) -> list[Disagreement]:
    """Return the pictures that the model of the night calls otherwise than readers or data sets, with thumbnails."""
    found = []
    for where, pictures in night.pictures.items():
        asked = night.asked[where]
        role = Role.CHALLENGER if Role.CHALLENGER in asked else Role.CHAMPION
        frozen = pictures.frozen()
        for place in disagreements(frozen.labels, asked[role].answers) if len(frozen) else ():
            item = pictures.items[int(place)]
            found.append(
                Disagreement(
                    number=int(item.key.rpartition("/")[2]),
                    label=ImageClass(item.label),
                    examined_on=where,
                    scores={one: float(asked[one].answers.scores[place]) for one in _roles(night) if one in asked},
                    # who looks up again just what the model gets wrong in the test set changes what it is judged by
                    thumbnail=None if where is ExaminedOn.TEST else _thumbnail(night.tonight.settings, item.path),
                )
            )
    return found


def _thumbnail(settings: Settings, digest: str) -> np.ndarray | None:
    try:
        return load_master(settings.masters, digest)
    except LungwatchError:
        return None
