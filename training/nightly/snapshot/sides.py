"""On which side of training a patient is, for good, and in which share of the frozen test set.

Both follow from the patient's digest, which is keyed already: not from the
order of arrival, not from how many there are. What was decided first is noted
in the ledger (`db.sides`) and stands, whatever is found later.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from typing import Final

from db.vocabulary import Share, Side, Use
from training.datasets.patients import Split, split_of

SEALED_SHARE: Final = 0.25

# fixed: the digest hides the patient, and another key would move every patient who is not noted yet
_SIDES: Final = b"lungwatch: sides of patients, 1"
_SHARES: Final = b"lungwatch: shares of the frozen test set, 1"

_OF_SPLIT: Final = {
    Split.FIT: Side.FIT,
    Split.WATCH: Side.WATCH,
    Split.VALIDATION: Side.VALIDATION,
    Split.TEST: Side.HELD_OUT,
    Split.RESERVED: Side.HELD_OUT,
}
# Where a patient's pictures have several uses, the first of these decides: nobody who was tested on is fitted on.
# DROPPED says nothing of the patient.
_OF_USE: Final = {
    Use.TEST: Side.HELD_OUT,
    Use.RESERVED: Side.HELD_OUT,
    Use.VALIDATION: Side.VALIDATION,
    Use.WATCH: Side.WATCH,
    Use.FIT: Side.FIT,
}


def side_of(patient_digest: str) -> Side:
    """Place a patient of the site's own.

    Returns
    -------
    Side
        HELD_OUT for 15 % of patients, VALIDATION for 15 %, WATCH for 8 %, else FIT (`training.datasets.patients`).
    """
    return _OF_SPLIT[split_of(patient_digest, _SIDES)]


def side_by_use(uses: Collection[Use]) -> Side | None:
    """Place a patient who came with imported data sets as these had it; None where they do not say.

    Else a patient that a shipped model was fitted on could land in a test.
    """
    return next((side for use, side in _OF_USE.items() if use in uses), None)


def share_of(patient_digest: str) -> Share:
    """Say whether a held-out patient belongs to the sealed share: one in four does."""
    digest = hmac.new(_SHARES, patient_digest.encode(), hashlib.sha256).digest()
    return Share.SEALED if int.from_bytes(digest[:8], "big") / 2**64 < SEALED_SHARE else Share.TEST
