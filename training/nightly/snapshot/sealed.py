"""Opening the sealed share of the frozen test set: seldom, counted, and by a person with a reason.

Judging night after night on one test set wears it out; what the models have
become fit for without anybody meaning it shows on patients who were not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from bundle.load import LoadedModel
from core.errors import LungwatchError
from core.settings import Settings
from db.evaluations import NewEvaluation, now, openings, record
from db.vocabulary import ExaminedOn, Share
from training.examination.evaluate import Evaluation, measure
from training.nightly.snapshot.collect import collect
from training.nightly.snapshot.manifest import Manifest
from training.nightly.snapshot.material import material


class StaysSealed(LungwatchError):
    """The sealed share may not be opened now, or there is none."""


@dataclass(frozen=True)
class Opened:
    """What opening the sealed share gave.

    Attributes
    ----------
    evaluation : Evaluation
    test_set : int
        Version of the frozen test set.
    pixels_gone : int
        Pictures of the share that could not be scored.
    times : int
        How often it was opened by now.
    closed_until : datetime
        When it may be opened next.
    """

    evaluation: Evaluation
    test_set: int
    pixels_gone: int
    times: int
    closed_until: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``lungwatch evaluate --json``, and beside it what was opened."""
        sealed = {
            "test_set": self.test_set,
            "pixels_gone": self.pixels_gone,
            "times_opened": self.times,
            "closed_until": self.closed_until.isoformat(),
        }
        return {**self.evaluation.to_dict(), "sealed": sealed}


def refuse_closed(session: Session, days: int, *, lock: bool = False) -> int:
    """Return how often the sealed share was opened, or refuse to open it again so soon.

    Raises
    ------
    StaysSealed
        Naming the day when it may be opened next.
    """
    times = openings(session, lock=lock)
    if times and now(session) < (until := times[-1] + timedelta(days=days)):
        raise StaysSealed(
            f"the sealed share was opened on {times[-1]:%Y-%m-%d}, {len(times)} times so far; it may be opened again "
            f"from {until:%Y-%m-%d %H:%M} UTC on"
        )
    return len(times)


def open_sealed(
    settings: Settings,
    sessions: sessionmaker[Session],
    model: LoadedModel,
    fitted_patients: frozenset[str],
    model_version_id: int,
    *,
    actor: str,
    reason: str,
    begin: Callable[[int], Callable[[], None]] = lambda _: lambda: None,
) -> Opened:
    """Measure a model on the sealed share, and count that.

    Nobody sees a figure that was not counted: of two who open at once, one is
    refused when both have scored.

    Parameters
    ----------
    fitted_patients : frozenset of str
        Keyed digests from the bundle's ``patients_fitted.txt``.
    begin : callable
        Called with the number of images; returns what to call after each.

    Raises
    ------
    StaysSealed
        If there is none, or it was opened too lately.
    """
    found = collect(settings, sessions, note=False)
    sealed = tuple(picture for picture in found.manifest.pictures if picture.share is Share.SEALED)
    if not sealed or found.test_set_version is None:
        raise StaysSealed("the test set has no sealed picture; lungwatch testset freeze makes a version with some")
    things = material(settings, Manifest("", found.manifest.test_set, sealed))
    patients = {picture.patient_digest for picture in sealed}
    evaluation = measure(
        model,
        things.dataset,
        things.dataset.items,
        data=f"test set {found.test_set_version}",
        split="sealed",
        fitted_on=len(patients & fitted_patients),
        advance=begin(len(sealed)),
    )
    figures = {**evaluation.metrics, **evaluation.calibration}
    new = NewEvaluation(
        model_version_id=model_version_id,
        examined_on=ExaminedOn.SEALED,
        test_set_id=found.test_set_id,
        images=evaluation.n,
        patients=evaluation.patients,
        figures={name: interval.model_dump() for name, interval in figures.items()},
        actor=actor,
        reason=reason,
    )
    with sessions.begin() as session:
        times = refuse_closed(session, settings.sealed_days, lock=True) + 1
        record(session, new)
        closed_until = now(session) + timedelta(days=settings.sealed_days)
    gone = sum(picture.share is Share.SEALED for picture in found.manifest.gone)
    return Opened(evaluation, found.test_set_version, gone, times, closed_until)
