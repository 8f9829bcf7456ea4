"""What reading one instance yields; passes from the helper process to the worker as data, never as objects to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from imaging.reasons import Annotation, Rejection, ScopeReason


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the ledger keeps of a header. Text is decoded, free of NUL and control characters, cut to its column.

    `patient_name` is filled only where the caller asks for it.
    """

    study_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_uid: str | None = None
    accession_number: str | None = None
    patient_id: str | None = None
    issuer_of_patient_id: str | None = None
    patient_name: str | None = None
    study_date: date | None = None
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    patient_age_days: int | None = None
    patient_sex: str | None = None
    manufacturer: str | None = None
    rows: int | None = None
    columns: int | None = None
    manufacturer_model: str | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """Facts about the master image that `worker.decide` judges.

    Attributes
    ----------
    spread : float
        Difference of the 99th and 1st percentile as a share of full scale, 0 to 1.
    clipped : float
        Share of pixels at either end of the scale, 0 to 1.
    shorter_side : int
        Of the original, pixels.
    """

    spread: float
    clipped: float
    shorter_side: int


@dataclass(frozen=True, slots=True)
class MasterReference:
    """A master image that is durably in the masters directory.

    Attributes
    ----------
    digest : str
        SHA-256 of the master's pixels and shape; names the file.
    pixels_digest : str or None
        SHA-256 over decoded stored values and every parameter of the grayscale pipeline: equal
        across lossless transfer syntaxes of one image. None where not every pixel was decoded.
    """

    digest: str
    pixels_digest: str | None
    quality: Quality


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything one pass over an instance found out.

    Exactly one of these holds: `out_of_scope` is set, `rejected` is set, or
    `master` is set. `attributes` is None only with `rejected`.
    """

    attributes: Attributes | None
    annotations: tuple[Annotation, ...] = ()
    out_of_scope: ScopeReason | None = None
    rejected: Rejection | None = None
    detail: str = ""
    master: MasterReference | None = None
    seconds: dict[str, float] = field(default_factory=dict)
