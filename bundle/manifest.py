"""The manifest: everything about a bundle that is no weight. Parsed only after its signature is verified."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bundle.calibration import Calibration
from bundle.errors import BundleRefused

FORMAT: Final = 1
POSITIVE: Final = "PNEUMONIA"

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
WEIGHTS: Final = "model.weights.h5"
LITERT: Final = "model.tflite"
CHECKS: Final = "checks.npz"
FITTED_PATIENTS: Final = "patients_fitted.txt"
MODEL_CARD: Final = "MODEL_CARD.md"
# what not every bundle has: see `bundle.familiarity` and `bundle.head`
FAMILIARITY: Final = "familiarity.npz"
HEAD: Final = "head.npz"
REQUIRED_FILES: Final = frozenset({WEIGHTS, LITERT, CHECKS, FITTED_PATIENTS, MODEL_CARD})

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# no folder, no leading dot, nothing a shell or a file system reads in another way
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Frozen):
    """A figure with its 95 % interval; all None where the figure is undefined on the data."""

    value: float | None
    low: float | None
    high: float | None


class OperatingPoint(_Frozen):
    """Where a score becomes SUSPECTED (score >= threshold), and how that was chosen.

    Attributes
    ----------
    threshold : float
        On the model's own score.
    required_sensitivity, confidence : float
        The one-sided lower bound by patient that the threshold had to reach.
    sensitivity_lower_bound : float
        What it reached.
    sensitivity, specificity : Interval
        On the patients it was chosen on.
    patients, images : int
        How many those were.
    chosen_how : str
        In words.
    """

    threshold: Share
    required_sensitivity: Share
    confidence: Share
    sensitivity_lower_bound: Share
    sensitivity: Interval
    specificity: Interval
    patients: int
    images: int
    chosen_how: str


class PredictiveValues(_Frozen):
    """What being called, and not being called, is worth at a prevalence, at the operating point.

    Attributes
    ----------
    ppv, npv : Interval
        Share of pneumonia among the called, and of no pneumonia among the others; from sensitivity and specificity.
    """

    prevalence: Share
    ppv: Interval
    npv: Interval


class Subgroup(_Frozen):
    """Figures of some of the images.

    Attributes
    ----------
    of : str
        What the images were grouped by: kind, size, sex, age, view or device.
    n, normal, pneumonia, patients : int
        How many are scored; of a kind of pneumonia `n` counts that kind alone, and `normal` all normals.
    few : bool
        Whether so few patients stand behind it that the figures tell little.
    metrics : dict of str to Interval
    """

    of: str
    n: int
    normal: int
    pneumonia: int
    patients: int
    few: bool
    metrics: dict[str, Interval]


class UncertaintyBand(_Frozen):
    """Scores from `low` up to, not including, `high` are flagged UNCERTAIN; `chosen_how` says in words why these."""

    low: Share
    high: Share
    chosen_how: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            message = "the uncertainty band ends before it begins"
            raise ValueError(message)
        return self


class Noticed(_Frozen):
    """Pictures of a class that is no chest as the model knows it, and how many of them were called unfamiliar.

    Attributes
    ----------
    sources : int or None
        How many pictures those of the class are parts of; None where each was drawn, or made of a chest of its own, and
        in bundles made before it was counted.
    """

    n: int
    unfamiliar: int
    sources: int | None = None


class Unfamiliarity(_Frozen):
    """Where an image becomes UNFAMILIAR (unfamiliarity >= threshold), how that was chosen, and what it notices.

    Attributes
    ----------
    threshold : float
        On the scale of `bundle.familiarity`.
    allowed_false_alarms : float
        Share of held-out images that may lie at or above it.
    images, patients : int
        How many it was chosen on.
    chosen_how : str
        In words.
    false_alarms : dict of str to Interval
        What it came to, by split.
    noticed : dict of str to Noticed
        By class of pictures; empty where nothing was measured.
    """

    threshold: Annotated[float, Field(gt=0)]
    allowed_false_alarms: Share
    images: int
    patients: int
    chosen_how: str
    false_alarms: dict[str, Interval]
    noticed: dict[str, Noticed]


class IntendedUse(_Frozen):
    """What the model was made for, as data; everything else is withheld or marked.

    Attributes
    ----------
    age_days : tuple of int
        First day of age included and first day excluded.
    views : tuple of str
        ViewPosition (0018,5101) values it was trained on.
    """

    purpose: str
    population: str
    age_days: tuple[int, int]
    views: tuple[str, ...]
    classes: str
    limits: tuple[str, ...]

    @model_validator(mode="after")
    def _some_age(self) -> Self:
        if not 0 <= self.age_days[0] < self.age_days[1]:
            message = "age_days: the first day included must be 0 or more, and come before the first excluded"
            raise ValueError(message)
        return self


class Data(_Frozen):
    """What the model was fitted, calibrated and scored on.

    Attributes
    ----------
    digest : str
        Over every image's key, use and bytes.
    images, patients : dict
        Counts by use.
    patients_fitted_digest : str
        SHA-256 of `patients_fitted.txt`, the keyed digests of everyone whose images shaped the weights.
    ancestors : tuple of str
        Digests of the bundles this one was fine-tuned from.
    """

    name: str
    digest: Digest
    images: dict[str, dict[str, int]]
    patients: dict[str, int]
    patients_fitted_digest: Digest
    ancestors: tuple[Digest, ...] = ()


class Manifest(_Frozen):
    """Everything about a bundle that is no weight.

    Attributes
    ----------
    parent : str or None
        Digest of the bundle that this one was fine-tuned from; None where it was fitted from scratch.
    """

    format: int
    name: Word
    version: Word
    parent: Digest | None = None
    created_at: str
    architecture: Word
    labels: tuple[str, ...]
    preprocess: dict[str, Any]
    preprocess_digest: Digest
    calibration: Calibration
    operating_point: OperatingPoint
    uncertainty: UncertaintyBand
    familiarity: Unfamiliarity | None = None
    intended_use: IntendedUse
    data: Data
    training: dict[str, Any]
    metrics: dict[str, dict[str, Interval]]
    # by part of the data, as the metrics; bundles made before they were measured have none
    predictive_values: dict[str, tuple[PredictiveValues, ...]] = Field(default_factory=dict)
    subgroups: dict[str, dict[str, Subgroup]] = Field(default_factory=dict)
    libraries: dict[str, str]
    attribution: str
    files: dict[FileName, Digest]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.format != FORMAT:
            message = f"format {self.format} is not the one this version reads ({FORMAT})"
            raise ValueError(message)
        if POSITIVE not in self.labels or len(set(self.labels)) != len(self.labels):
            message = f"labels must be distinct and include {POSITIVE}"
            raise ValueError(message)
        if not self.uncertainty.low < self.operating_point.threshold < self.uncertainty.high:
            message = "the uncertainty band does not lie around the threshold"
            raise ValueError(message)
        if missing := REQUIRED_FILES - set(self.files):
            message = f"files lack {', '.join(sorted(missing))}"
            raise ValueError(message)
        if (self.familiarity is None) != (FAMILIARITY not in self.files):
            message = f"familiarity and the file {FAMILIARITY} must be there both or not at all"
            raise ValueError(message)
        if {MANIFEST, SIGNATURE} & set(self.files):
            message = "files may not list the manifest or its signature"
            raise ValueError(message)
        return self

    @property
    def title(self) -> str:
        """Name and version, as people see them."""
        return f"{self.name} {self.version}"

    @property
    def positive_column(self) -> int:
        """Which column of the network's output is PNEUMONIA."""
        return self.labels.index(POSITIVE)

    def encode(self) -> bytes:
        """Return the bytes that are signed and whose SHA-256 is the bundle's digest."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def parse(content: bytes) -> Manifest:
    """Read a manifest whose bytes are already verified.

    Raises
    ------
    BundleRefused
        Naming the fields that are wrong.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        wrong = wrong_fields(error, "manifest")
        raise BundleRefused(f"the bundle's manifest does not hold together: {wrong}") from None


def wrong_fields(error: ValidationError, whole: str) -> str:
    """Name the fields that are wrong and say why; `whole` names what is read, where it is no one field."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or whole}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
