"""What was seen in some days, measure by measure, from the rows of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np

from db.consensus import Finding
from db.drift import ImageSeen, StudyRead
from db.vocabulary import Outcome
from imaging.reasons import Rejection
from training.nightly.drift.result import Name
from training.nightly.drift.sizes import Sample

_IN_SCOPE: Final = frozenset({Outcome.SUSPECTED, Outcome.NOT_SUSPECTED, Outcome.NO_RESULT})
_NOT_SAID: Final = "(not said)"
_YEAR: Final = 365.25
# the starter model is for children of one to five years
_AGES: Final = (0, 1, 5, 12, 18, 40, 65)
# what makes a reading an answer on pneumonia, and which answer agrees with which outcome
_ANSWERS: Final = (Finding.PNEUMONIA, Finding.NO_PNEUMONIA)
_AGREES: Final = {
    (Outcome.SUSPECTED, False): (Name.CONFIRMED, Finding.PNEUMONIA),
    (Outcome.SUSPECTED, True): (Name.CONFIRMED_BLIND, Finding.PNEUMONIA),
    (Outcome.NOT_SUSPECTED, False): (Name.CLEARED, Finding.NO_PNEUMONIA),
    (Outcome.NOT_SUSPECTED, True): (Name.CLEARED_BLIND, Finding.NO_PNEUMONIA),
}


class Collector:
    """Gathers values with the patients they are of.

    Parameters
    ----------
    model_version_id : int or None
        Whose answers count; of `OF_MODEL` nothing is gathered without.

    Attributes
    ----------
    masters : dict of str to int
        Patients of the master images in scope, by digest; here and elsewhere a patient is a number in order of coming.
    """

    def __init__(self, model_version_id: int | None) -> None:
        self.model = model_version_id
        self.masters: dict[str, int] = {}
        self._patients: dict[str, int] = {}
        self._values: dict[Name, tuple[list[Any], list[int]]] = {}
        self._studies: dict[int, tuple[int, set[int | None]]] = {}

    def images(self, seen: Iterable[ImageSeen]) -> None:
        """Take the images of the studies; before what is known of the studies themselves."""
        for one in seen:
            patient = self._patients.setdefault(one.patient, len(self._patients))
            if one.outcome in _IN_SCOPE:
                self._add(Name.SCOPE, "in scope", patient)
                self._in_scope(one, patient)
            elif one.outcome is Outcome.OUT_OF_SCOPE:
                self._add(Name.SCOPE, one.reason or _NOT_SAID, patient)

    def flags(self, flagged: frozenset[int]) -> None:
        """Take which studies are flagged; those count whose images the model alone answered for."""
        for study_id, (patient, models) in self._studies.items():
            if models == {self.model}:
                self._add(Name.FLAGGED, study_id in flagged, patient)

    def readings(self, read: Iterable[StudyRead]) -> None:
        """Take what readers said, of studies that the model alone answered for."""
        for one in read:
            found = _AGREES.get((one.outcome, one.blind))
            if found is None or one.finding not in _ANSWERS or one.study_id not in self._studies:
                continue
            patient, models = self._studies[one.study_id]
            if models == {self.model}:
                name, agreeing = found
                self._add(name, one.finding is agreeing, patient)

    def samples(self) -> dict[Name, Sample]:
        """Return what was gathered."""
        return {name: sample(values, patients) for name, (values, patients) in self._values.items()}

    def _in_scope(self, one: ImageSeen, patient: int) -> None:
        failed = one.outcome is Outcome.NO_RESULT and one.reason != Rejection.UNFAMILIAR
        self._add(Name.NO_RESULT, failed, patient)
        self._add(Name.DEVICE, (one.manufacturer or "").strip() or _NOT_SAID, patient)
        self._add(Name.CALLING_AE, one.peer or _NOT_SAID, patient)
        self._add(Name.VIEW, one.view or _NOT_SAID, patient)
        self._add(Name.SEX, one.sex or _NOT_SAID, patient)
        self._add(Name.AGE, age_group(one.age_days), patient)
        if one.master_digest is not None:
            self.masters[one.master_digest] = patient
        if one.model_version_id is None:
            return
        self._studies.setdefault(one.study_id, (patient, set()))[1].add(one.model_version_id)
        if one.model_version_id == self.model:
            self._answered(one, patient)

    def _answered(self, one: ImageSeen, patient: int) -> None:
        if one.score is not None:
            for name in (Name.SCORE, Name.SCORE_DISTANCE):
                self._add(name, one.score, patient)
        if one.unfamiliarity_threshold is not None:
            # no number counts as unlike, as where it was decided
            unlike = one.unfamiliarity is None or one.unfamiliarity >= one.unfamiliarity_threshold
            self._add(Name.UNFAMILIAR, unlike, patient)
            if one.unfamiliarity is not None:
                self._add(Name.UNFAMILIARITY, one.unfamiliarity, patient)

    def _add(self, name: Name, value: object, patient: int) -> None:
        values, patients = self._values.setdefault(name, ([], []))
        values.append(value)
        patients.append(patient)


def sample(values: list[Any], patients: list[int]) -> Sample:
    """Return values, all of one type, with their patients as arrays."""
    # text stays objects: an array of text is as wide as the longest
    texts = bool(values) and isinstance(values[0], str)
    return Sample(np.array(values, object if texts else None), np.array(patients, np.int64))


def age_group(days: int | None) -> str:
    """Name the years of age that an image is counted with."""
    if days is None:
        return _NOT_SAID
    years = days / _YEAR
    bounds = (
        f"{low} to {high - 1}" if high - low > 1 else f"under {high}" for low, high in pairwise(_AGES) if years < high
    )
    return next(bounds, f"{_AGES[-1]} and more")
