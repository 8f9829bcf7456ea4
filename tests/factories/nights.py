"""Nights for the report: one in which everything happened, and what is left of it when less did."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from db.vocabulary import ExaminedOn, ImageClass, LabelOrigin, NightKind, NightState, NightStep, Side
from tests.factories.exams import exam, judged
from training.fitting.run import Epoch
from training.nightly.gate.exam import FrozenTest
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

NORMAL, PNEUMONIA = ImageClass.NORMAL, ImageClass.PNEUMONIA
STARTED = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
EDGES = (-np.inf, 0.1, 0.5, 0.9, np.inf)


def night(patients: int = 300, *, thumbnails: bool = True, seed: int = 0) -> Night:
    """Make a night that promoted.

    Parameters
    ----------
    patients : int
        Of the frozen test set with pneumonia; as many without.
    """
    rng = np.random.default_rng(seed)
    given = exam(patients, images=2, seed=seed)
    sexes = np.array(["F", "M"])[given.test.numbers % 2]
    test = replace(
        given.test, subgroups={f"sex: {sex}": sexes == sex for sex in ("F", "M")} | {"device: <A & B>": sexes == "X"}
    )
    # called a little otherwise, so that three curves are seen
    anchor = replace(given.champion, digest="anchor", scores=given.champion.scores**1.2)
    given = replace(given, test=test, anchor=anchor)
    decision = judged(given)
    rows = disagreements(test.labels, given.champion)
    return Night(
        night=date(2026, 3, 1),
        state=NightState.PROMOTED,
        kind=NightKind.FINE_TUNE,
        reason=decision.reason,
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=4000),
        steps=tuple(StepTaken(step, 7.25 * 3 ** min(number, 5)) for number, step in enumerate(NightStep)),
        settings={"LUNGWATCH_NIGHTLY_HOUR": "1", "LUNGWATCH_GATE_METRIC": "auc"},
        material=Material(
            digest="5" * 64,
            test_set=3,
            counts={
                Side.FIT: {NORMAL: 1120, PNEUMONIA: 3310},
                Side.WATCH: {NORMAL: 121, PNEUMONIA: 300},
                Side.VALIDATION: {NORMAL: 118, PNEUMONIA: 322},
                Side.HELD_OUT: {NORMAL: len(test) // 2, PNEUMONIA: len(test) // 2},
            },
            patients=4321,
        ),
        labels=LabelCounts(
            {LabelOrigin.IMPORTED: {NORMAL: 1300, PNEUMONIA: 3900}, LabelOrigin.VERDICT: {PNEUMONIA: 77}}, 64, 50
        ),
        models=tuple(Model(role, f"se-resnet {10 - place}", role * 7, 0.5) for place, role in enumerate(Role)),
        test=Examined(
            test, {Role.CHALLENGER: given.challenger, Role.CHAMPION: given.champion, Role.ANCHOR: given.anchor}
        ),
        recent=recent(given.test.patients[:80], rng),
        decision=decision,
        drift=DriftShown(
            "NOTICE",
            blocks=False,
            words="2 to 15 February 2026 held against 1 September to 30 November 2025.",
            panels=(
                DriftPanel("score", "NONE", "PSI 0.031", EDGES, (), (0.4, 0.1, 0.1, 0.4), (0.35, 0.1, 0.15, 0.4)),
                DriftPanel("device", "NOTICE", "PSI 0.14", (), ("<A & B>", "C$1$"), (0.75, 0.25), (0.5, 0.5)),
                DriftPanel("agreement", "UNTOLD", "12 verdicts are too few"),
            ),
        ),
        epochs=tuple(Epoch(n, 0.5 / n, 0.4 / n + 0.02 * max(0, n - 5), 0.9, 61.0) for n in range(1, 9)),
        disagreements=tuple(
            Disagreement(
                number=1000 + int(row),
                label=PNEUMONIA if test.labels[row] else NORMAL,
                examined_on=ExaminedOn.TEST,
                scores={
                    role: float(said.scores[row])
                    for role, said in ((Role.CHALLENGER, given.challenger), (Role.CHAMPION, given.champion))
                },
                thumbnail=rng.integers(0, 65536, (512, 400), np.uint16) if thumbnails and place else None,
            )
            for place, row in enumerate(rows)
        ),
    )


def recent(patients: tuple[str, ...], rng: np.random.Generator) -> Examined:
    """Make the newest reviewed weeks."""
    labels = np.arange(len(patients)) % 3 // 2
    pictures = FrozenTest(labels, patients)
    said = exam(2).champion
    scores = 1 / (1 + np.exp(-(3 * rng.normal(size=len(labels)) + 6 * labels - 3)))
    answers = {role: replace(said, digest=role.value, scores=scores, probabilities=scores) for role in Role}
    return Examined(pictures, answers)


def evaluated() -> Night:
    """Make a night with too few labels to train: the champion alone was examined again."""
    whole = night(40, thumbnails=False)
    champion = {Role.CHAMPION: whole.test.answers[Role.CHAMPION]} if whole.test else {}
    return replace(
        whole,
        state=NightState.EVALUATED,
        kind=NightKind.EVALUATE,
        reason="12 new labels; a night trains with 50.",
        models=(Model(Role.CHAMPION, "se-resnet 9", "c" * 64, 0.5),),
        test=replace(whole.test, answers=champion) if whole.test else None,
        recent=None,
        decision=None,
        drift=None,
        epochs=(),
        disagreements=(),
    )


def failed() -> Night:
    """Make a night that failed in its first step."""
    return Night(
        night=date(2026, 3, 1),
        state=NightState.FAILED,
        kind=None,
        reason="<disk> full: make room under data/snapshots",
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=3),
        steps=(StepTaken(NightStep.SNAPSHOT, 2.5),),
    )
