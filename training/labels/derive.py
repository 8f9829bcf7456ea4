"""From what readers said to what an image is learnt as: one pure rule, `derive`.

| readers say together | the study's pictures are |
|---|---|
| PNEUMONIA | PNEUMONIA |
| NO_PNEUMONIA | NORMAL |
| NO_PNEUMONIA, and something else abnormal | NORMAL, subgroup ``other_abnormal`` |
| nothing usable, nothing decided, in dispute | not labelled |

NORMAL is the class of everything that is no pneumonia; whoever wants it
narrower leaves the subgroup out.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from core.errors import Misconfigured
from core.settings import Settings
from core.site_key import site_key
from db.consensus import Finding
from db.label_evidence import Evidence
from db.labels import Wanted, labels
from db.vocabulary import ImageClass, LabelOrigin, VerdictKind
from training.datasets.patients import dicom_patient, patient_digest

KEY_FILE: Final = "patients.key"
OTHER_ABNORMAL: Final = "other_abnormal"


class Without(StrEnum):
    """Why a study that was read gives no label."""

    DISPUTED = "DISPUTED"
    UNDECIDED = "UNDECIDED"
    UNUSABLE = "UNUSABLE"
    CONFLICT = "CONFLICT"
    """What came for it does not go together, and nobody has read it since."""
    NO_PATIENT = "NO_PATIENT"
    """Without patient ID it cannot be kept on one side of the split."""
    NO_PICTURE = "NO_PICTURE"
    """No image in scope that its readers saw is in force."""
    CONTRADICTION = "CONTRADICTION"
    """The same picture of the same patient is labelled otherwise in another study."""


_FINDINGS: Final = {
    Finding.DISPUTED: Without.DISPUTED,
    Finding.UNDECIDED: Without.UNDECIDED,
    Finding.UNUSABLE: Without.UNUSABLE,
}


@dataclass(frozen=True, slots=True)
class Derivation:
    """What verdicts label.

    Attributes
    ----------
    wanted : tuple of Wanted
        One a picture, by picture.
    studies : int
        Studies that were read.
    without : dict of Without to int
        Those that give no label, by reason.
    """

    wanted: tuple[Wanted, ...]
    studies: int
    without: dict[Without, int]


def derive(evidence: Iterable[Evidence], digest_of: Callable[[str], str]) -> Derivation:
    """Say what every picture of every study that was read is labelled as; the order does not matter.

    Parameters
    ----------
    digest_of : callable
        Turns a patient's name in `training.datasets.patients.dicom_patient` into the digest that is kept.
    """
    without: Counter[Without] = Counter()
    given: dict[tuple[str, str], list[Wanted]] = {}
    studies: dict[tuple[str, str], set[int]] = {}
    count = 0
    for one in evidence:
        count += 1
        reason = _without(one)
        if reason is not None:
            without[reason] += 1
            continue
        for wanted in _labels(one, digest_of):
            given.setdefault(wanted.picture, []).append(wanted)
            studies.setdefault(wanted.picture, set()).add(one.judged.study_id)
    contradicting: set[int] = set()
    agreed = []
    for picture, labels_given in sorted(given.items()):
        if len({one.label for one in labels_given}) > 1:
            contradicting |= studies[picture]
        else:
            agreed.append(_merged(labels_given))
    if contradicting:
        without[Without.CONTRADICTION] = len(contradicting)
    return Derivation(tuple(agreed), count, dict(sorted(without.items())))


def patient_key(settings: Settings, session: Session, *, dry_run: bool = False) -> bytes:
    """Return the key of patients' digests: the configured one, else this installation's, made before the first label.

    Parameters
    ----------
    dry_run : bool
        Make none; where there is none yet, any will do.

    Raises
    ------
    Misconfigured
        If it cannot be used, or is gone although labels were made with it: with another one every patient would be
        a new one, and the test patients no longer those that no model was fitted on.
    """
    if settings.patient_key is not None:
        return settings.patient_key.get_secret_value().encode()
    path = settings.data_dir / KEY_FILE
    if not path.exists():
        if labels(session, origin=LabelOrigin.VERDICT, limit=1):
            message = f"{path} is gone, and labels were made with it: put it back from a backup"
            raise Misconfigured(message)
        if dry_run:
            return secrets.token_bytes()
    return site_key(path, "patients' digests", "LUNGWATCH_PATIENT_KEY")


def digests(key: bytes) -> Callable[[str], str]:
    """Return the function that turns a patient's name into the digest that is kept."""
    return lambda patient: patient_digest(patient, key)


def _without(one: Evidence) -> Without | None:
    consensus = one.judged.consensus
    if consensus.finding in _FINDINGS:
        return _FINDINGS[consensus.finding]
    if one.conflict_at is not None and not any(
        reading.read_at >= one.conflict_at and reading.verdict is not VerdictKind.INDETERMINATE
        for reading in consensus.standing
    ):
        return Without.CONFLICT
    if not one.judged.patient_id:
        return Without.NO_PATIENT
    return None if one.pictures else Without.NO_PICTURE


def _labels(one: Evidence, digest_of: Callable[[str], str]) -> Iterable[Wanted]:
    consensus = one.judged.consensus
    ill = consensus.finding is Finding.PNEUMONIA
    patient = dicom_patient(one.judged.patient_id or "", one.judged.issuer_of_patient_id)
    for master in one.pictures:
        yield Wanted(
            master_digest=master,
            patient_digest=digest_of(patient),
            label=ImageClass.PNEUMONIA if ill else ImageClass.NORMAL,
            subgroup=OTHER_ABNORMAL if consensus.otherwise_abnormal and not ill else None,
            verdict_ids=frozenset(reading.verdict_id for reading in consensus.standing),
        )


def _merged(given: list[Wanted]) -> Wanted:
    """Take together what several studies say of one picture, which is the same; or say it of one."""
    first = given[0]
    subgroups = sorted(one.subgroup for one in given if one.subgroup is not None)
    verdict_ids = frozenset[int]().union(*(one.verdict_ids for one in given))
    return Wanted(*first.picture, first.label, subgroups[0] if subgroups else None, verdict_ids)
