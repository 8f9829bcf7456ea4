"""What passes between the stages of the journey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.claims import Claim
from imaging.reading import Attributes, MasterReference, Reading
from imaging.reasons import Rejection
from worker.decide import Decision, DecisionRules
from worker.resolve import Compared


@dataclass(frozen=True, slots=True)
class Read:
    """What a helper found out about one receipt's file.

    `compared` is there where the instance was known and a full decode had to tell what it is to the first.
    """

    claim: Claim
    reading: Reading
    dataset_sha256: str | None
    compared: Compared | None = None


@dataclass(frozen=True, slots=True)
class KnownAlready:
    """The same bytes were disposed of before; nothing was decoded."""

    claim: Claim
    study_id: int
    image_id: int


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt was spent without a result; `attempts` counts it.

    `attributes` are there if the attempt came past the header, so that after the last one the study shows what
    it lacks.
    """

    claim: Claim
    attempts: int
    reason: Rejection
    detail: str
    attributes: Attributes | None = None
    dataset_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class HostFailed:
    """The host could not do its part (a disk that is full or not mounted); the image is not charged for it."""

    claim: Claim
    problem: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Model input of an image in scope.

    Attributes
    ----------
    model_input : ndarray of float32, shape (input_size, input_size, channels)
        0 black to 1 white.
    input_digest : str
        SHA-256 of `model_input`.
    """

    read: Read
    master: MasterReference
    model_input: NDArray[np.float32]
    input_digest: str


@dataclass(frozen=True, slots=True)
class ModelStamp:
    """Which model spoke; goes into every prediction row."""

    model_version_id: int
    preprocess_digest: str
    runtime: str
    rules: DecisionRules


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model's score was taken to mean.

    Attributes
    ----------
    unfamiliarity : float or None
        None where the bundle measures none, or where it is not finite.
    heat : list of list of float or None
        See `bundle.head.Head.heat`; None where the network offers none, or where it is not finite.
    """

    decision: Decision
    stamp: ModelStamp
    input_digest: str
    unfamiliarity: float | None = None
    heat: list[list[float]] | None = None
