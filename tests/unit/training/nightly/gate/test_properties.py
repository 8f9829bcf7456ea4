"""What holds of any exam: drawn at random, with ties, several images a patient, and any rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings import GateMetric
from tests.factories.exams import NIGHT, judged
from training.nightly.gate.decision import Decision, Verdict
from training.nightly.gate.exam import Answers, Exam, FrozenTest

PERMISSIVE = {
    "sensitivity_margin": 0.2,
    "specificity_margin": 0.2,
    "auc_margin": 0.2,
    "log_loss_margin": 1.0,
    "slope_low": 0.001,
    "slope_high": 1000.0,
    "alpha_a_year": 0.5,
    "exams_a_year": 1,
    "resamples": 200,
}


@st.composite
def exams(draw: st.DrawFn) -> Exam:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(8, 90))
    patients = rng.integers(0, draw(st.integers(4, count)), count)
    labels = rng.integers(0, 2, count)
    labels[:2] = 0, 1

    def answers(digest: str) -> Answers:
        odds = rng.normal(size=count) + rng.uniform(-0.5, 3) * (labels - 0.5)
        # rounded: ties are where rankings go wrong
        scores = (1 / (1 + np.exp(-odds))).round(draw(st.integers(1, 3)))
        return Answers(digest, float(rng.uniform(0.2, 0.8).__round__(1)), scores, np.clip(scores, 0.01, 0.99))

    return Exam(
        NIGHT,
        FrozenTest(
            labels,
            tuple(f"p{number}" for number in patients),
            {"a": rng.random(count) < 0.5, "b": rng.random(count) < 0.3},
        ),
        answers("challenger"),
        answers("champion"),
        answers("anchor"),
        {"challenger": frozenset({"nobody here"})},
        np.array([0.5]),
    )


METRICS = st.sampled_from(GateMetric)


@settings(max_examples=40)
@given(exams(), METRICS)
def test_a_copy_of_the_champion_is_never_promoted(drawn: Exam, metric: GateMetric) -> None:
    copy = replace(drawn, challenger=replace(drawn.champion, digest="challenger"))
    assert judged(copy, metric=metric, **PERMISSIVE).verdict is not Verdict.PROMOTE
    anchored = replace(copy, anchor=replace(copy.champion))
    assert judged(anchored, metric=metric, **PERMISSIVE).verdict is not Verdict.PROMOTE


@settings(max_examples=60)
@given(exams(), METRICS, st.integers(0, 2**32 - 1))
def test_worse_on_every_case_is_never_promoted(drawn: Exam, metric: GateMetric, seed: int) -> None:
    rng = np.random.default_rng(seed)
    champion, away = drawn.champion, np.where(drawn.test.ill, -1, 1)

    def worse(values: np.ndarray) -> np.ndarray:
        return np.clip(values + away * rng.uniform(0.0, 0.3, len(away)), 0, 1)

    challenger = Answers("challenger", champion.threshold, worse(champion.scores), worse(champion.probabilities))
    exam = replace(drawn, challenger=challenger, anchor=champion)
    assert judged(exam, metric=metric, **PERMISSIVE).verdict is not Verdict.PROMOTE


@settings(max_examples=40)
@given(exams(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_changes_nothing(drawn: Exam, random: object) -> None:
    order = np.arange(len(drawn.test))
    random.shuffle(order)  # type: ignore[attr-defined]
    test = FrozenTest(
        drawn.test.labels[order],
        tuple(drawn.test.patients[row] for row in order),
        # nor the order of the subgroups
        {name: drawn.test.subgroups[name][order] for name in ("b", "a")},
    )
    models = {
        role: replace(model, scores=model.scores[order], probabilities=model.probabilities[order])
        for role, model in drawn.models.items()
    }
    shuffled = replace(drawn, test=test, **models)
    assert shuffled.seed() == drawn.seed()
    assert judged(shuffled, **PERMISSIVE, subgroup_images=3) == judged(drawn, **PERMISSIVE, subgroup_images=3)


@settings(max_examples=40)
@given(exams(), METRICS)
def test_any_decision_is_stored_whole(drawn: Exam, metric: GateMetric) -> None:
    decision = judged(drawn, metric=metric, subgroup_images=3)
    assert Decision.from_json(decision.to_json()) == decision
    assert "NaN" not in decision.to_json()
    # and a person can read why
    assert decision.reason.endswith(".")
    assert all(found.words for found in decision.findings)


@settings(max_examples=40)
@given(exams())
def test_few_patients_are_never_promoted(drawn: Exam) -> None:
    # at most 90 patients, and 20 % may be lost: were the rules as shipped, not even the best could be told
    assert judged(drawn, alpha_a_year=0.5, exams_a_year=1).verdict in {
        Verdict.INSUFFICIENT_EVIDENCE,
        Verdict.KEEP,
        Verdict.REFUSED,
    }
