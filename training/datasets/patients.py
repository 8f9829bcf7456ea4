"""Patients, and the split by patient that never moves.

The collection's file names carry the patient (Kermany et al. 2018). Splitting
by image would put one child on both sides; so a keyed hash of the patient
decides, and nothing else: not the order of files, not how many there are.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum
from typing import Final

# Fixed in code for the public collection, so that every installation holds out the same children, and for every data
# set that is given as files, so that training, importing and evaluating know each other's patients. It hides nothing:
# labels from verdicts, whose patients are a site's, take the site's own key (`training.labels.derive.patient_key`).
PUBLIC_KEY: Final = b"lungwatch: public paediatric collection, split 1"

TEST_SHARE: Final = 0.15
VALIDATION_SHARE: Final = 0.15
WATCH_SHARE: Final = 0.08

_PERSON: Final = re.compile(r"^(?P<patient>person\d+)_(?P<kind>bacteria|virus)_\d+")
_NORMAL: Final = re.compile(r"^(?P<patient>(?:NORMAL2-)?IM-\d+)-\d+")
# as Mendeley Data's own archive has them
_MENDELEY: Final = re.compile(r"^(?P<kind>BACTERIA|VIRUS|NORMAL)-(?P<patient>\d+)-\d+")
_KINDS: Final = {"bacteria": "bacterial", "virus": "viral"}
_DIGEST_CHARACTERS: Final = 16


class Split(StrEnum):
    """What an image may be used for.

    WATCH is the part of the training patients that chooses the epoch;
    VALIDATION sets calibration and threshold; TEST is only ever scored.
    RESERVED is our frozen test share of a data set that brings a published
    ``test/`` of its own: neither fitted on nor scored with it.
    """

    FIT = "fit"
    WATCH = "watch"
    VALIDATION = "validation"
    TEST = "test"
    RESERVED = "reserved"


def patient_of(stem: str, published_split: str | None) -> str:
    """Name the patient of an image.

    Parameters
    ----------
    stem : str
        File name without its extension, such as ``person1234_virus_99``, ``NORMAL2-IM-0173-0001-0002`` or
        ``VIRUS-1018048-0001``.
    published_split : str or None
        ``train``, ``val``, ``test`` or None for a plain folder per class.

    Returns
    -------
    str
        Such as ``train/person1234``. Person numbers restart in the published
        test folder, so it is a name space of its own; ``val`` was taken from
        ``train`` and shares no number with it, so the two are one. Bacterial
        and viral images of one number count as one patient, the safe reading.
        A name of another form is a patient of its own.
    """
    space = "test" if published_split == "test" else "train"
    for pattern in (_PERSON, _NORMAL, _MENDELEY):
        if found := pattern.match(stem):
            return f"{space}/{found['patient']}"
    return f"{space}/{stem}"


def subgroup_of(stem: str) -> str | None:
    """Tell ``bacterial`` from ``viral`` by the file name; None where it does not say."""
    found = _PERSON.match(stem) or _MENDELEY.match(stem)
    return _KINDS.get(found["kind"].lower()) if found else None


def dicom_patient(patient_id: str, issuer: str | None) -> str:
    """Name a patient by (0010,0020) and the issuer of it: one number of two hospitals is two patients."""
    return f"{issuer or ''}\\{patient_id}"


def patient_digest(patient: str, key: bytes = PUBLIC_KEY) -> str:
    """Return the keyed digest a bundle remembers a patient by, 16 hexadecimal digits."""
    return hmac.new(key, b"digest:" + patient.encode(), hashlib.sha256).hexdigest()[:_DIGEST_CHARACTERS]


def split_of(patient: str, key: bytes = PUBLIC_KEY) -> Split:
    """Place a patient by a keyed hash alone, so that a patient never moves as data grows.

    Returns
    -------
    Split
        TEST for 15 % of patients, VALIDATION for 15 %, WATCH for 8 %, else FIT.
    """
    digest = hmac.new(key, b"split:" + patient.encode(), hashlib.sha256).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    for split, share in ((Split.TEST, TEST_SHARE), (Split.VALIDATION, VALIDATION_SHARE), (Split.WATCH, WATCH_SHARE)):
        if position < share:
            return split
        position -= share
    return Split.FIT
