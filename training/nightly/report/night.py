"""What a night's report is made from. Whoever ran the night fills it; nothing here reads ledger or disk.

Nothing in it may identify a patient: pictures go by their number in the ledger,
and the keyed digests of `FrozenTest.patients` are counted and never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import Interval
from db.vocabulary import ExaminedOn, ImageClass, LabelOrigin, NightKind, NightState, NightStep, Side
from training.fitting.run import Epoch
from training.nightly.gate.decision import Decision
from training.nightly.gate.exam import Answers, FrozenTest


class Role(StrEnum):
    """What a model is to the night, in the order it is shown."""

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    """The one in service when the night began."""
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step of the night, ended or broken off, and how long it took in all attempts."""

    step: NightStep
    seconds: float


@dataclass(frozen=True)
class Material:
    """The snapshot.

    Attributes
    ----------
    digest : str
        SHA-256 of its manifest.
    test_set : int or None
        Version of the frozen test set; None where nobody has frozen one.
    counts : mapping of Side to mapping of ImageClass to int
        Pictures with pixels.
    patients : int
        Of all sides.
    pixels_gone : int
        Labelled pictures that could not be used: their master was removed.
    changed_in_test : int
        Pictures of the test set whose label in force is no longer the frozen one they are judged by.
    """

    digest: str
    test_set: int | None
    counts: Mapping[Side, Mapping[ImageClass, int]]
    patients: int
    pixels_gone: int = 0
    changed_in_test: int = 0


@dataclass(frozen=True)
class LabelCounts:
    """The labels in force.

    Attributes
    ----------
    by_origin : mapping of LabelOrigin to mapping of ImageClass to int
    new : int
        New or changed since the last challenger, on the sides that are trained with.
    wanted : int
        So many new ones a night needs to train.
    """

    by_origin: Mapping[LabelOrigin, Mapping[ImageClass, int]]
    new: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model the night looked at.

    Attributes
    ----------
    title : str
        Name and version.
    digest : str
        Of its bundle.
    threshold : float
        Its stored operating point.
    """

    role: Role
    title: str
    digest: str
    threshold: float


@dataclass(frozen=True)
class Examined:
    """Pictures with the labels they were judged by, and what each model said of them.

    Attributes
    ----------
    pictures : FrozenTest
        The frozen test set, or the newest reviewed weeks; may be empty.
    answers : mapping of Role to Answers
        Of the models that were asked; an anchor that is the champion may be left out.
    figures : mapping of Role to mapping of str to Interval
        What `training.examination.metrics.intervals` gave for them, where that was asked
        before; otherwise the report asks it itself, which takes minutes of 20,000 pictures.

    Raises
    ------
    ValueError
        If arrays differ in length.
    """

    pictures: FrozenTest
    answers: Mapping[Role, Answers]
    figures: Mapping[Role, Mapping[str, Interval]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = {"patients": len(self.pictures.patients)}
        columns |= {f"subgroup {name}": len(member) for name, member in self.pictures.subgroups.items()}
        for role, said in self.answers.items():
            columns |= {f"{role}'s scores": len(said.scores), f"{role}'s probabilities": len(said.probabilities)}
        for name, length in columns.items():
            if length != len(self.pictures):
                raise ValueError(f"{name}: {length} values for {len(self.pictures)} labels")


@dataclass(frozen=True)
class DriftPanel:
    """One measure of drift.

    Attributes
    ----------
    level : str
        NONE, NOTICE, STRONG or UNTOLD.
    words : str
        Figure, thresholds and counts for a person.
    edges : tuple of float
        Of the bins, one more than there are shares, ascending; the outer ones may be infinite. Or:
    categories : tuple of str
        One for each share.
    reference, recent : tuple of float
        Shares of each period, 0 to 1; empty where there is nothing to draw.

    Raises
    ------
    ValueError
        If there are other numbers of shares than bins or categories.
    """

    name: str
    level: str
    words: str
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    recent: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        bins = len(self.categories) or max(len(self.edges) - 1, 0)
        if {len(self.reference), len(self.recent)} != {bins}:
            raise ValueError(
                f"drift of {self.name}: {len(self.reference)} and {len(self.recent)} shares for {bins} bins or "
                "categories"
            )


@dataclass(frozen=True)
class DriftShown:
    """What was found of drift; `words` names the two periods, or says why nothing could be told."""

    level: str
    blocks: bool
    words: str
    panels: tuple[DriftPanel, ...] = ()


@dataclass(frozen=True)
class Disagreement:
    """A picture that a model calls otherwise than its label.

    Attributes
    ----------
    number : int
        Of the labelled image in the ledger.
    label : ImageClass
    examined_on : ExaminedOn
    scores : mapping of Role to float
        Of each model that was asked.
    thumbnail : ndarray of uint16, shape (rows, columns), or None
        Its master; None where the pixels are gone.
    """

    number: int
    label: ImageClass
    examined_on: ExaminedOn
    scores: Mapping[Role, float]
    thumbnail: NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class Night:
    """One night, as far as it came.

    Attributes
    ----------
    kind : NightKind or None
        None where it ended before that was chosen.
    reason : str or None
        Why it ended as it did, for a person.
    steps : tuple of StepTaken
        In order; of a night that failed, the last is where.
    notes : tuple of str
        What else a person should know, a sentence each.
    settings : mapping of str to str
        Those in force that matter, by name.
    material : Material or None
        None where the night ended before its snapshot.
    models : tuple of Model
    test, recent : Examined or None
        On the frozen test set and on the newest reviewed weeks, of held-out patients; None where there is none.
    decision : Decision or None
        None where there was no challenger to decide about.
    epochs : tuple of Epoch
        Of the challenger's fit, also of one that is not finished.
    disagreements : tuple of Disagreement
        The most confident first.
    """

    night: date
    state: NightState
    kind: NightKind | None
    reason: str | None
    started_at: datetime
    finished_at: datetime | None
    steps: tuple[StepTaken, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    material: Material | None = None
    labels: LabelCounts | None = None
    models: tuple[Model, ...] = ()
    test: Examined | None = None
    recent: Examined | None = None
    decision: Decision | None = None
    drift: DriftShown | None = None
    epochs: tuple[Epoch, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()

    def model(self, role: Role) -> Model | None:
        """Return the model of a role."""
        return next((model for model in self.models if model.role is role), None)
