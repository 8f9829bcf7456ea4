from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.exams import exam, judged, not_held
from training.nightly.gate.decision import Decision, Rule, Verdict
from training.nightly.gate.exam import Exam

SOUND = exam(30)


def refused(given_exam: Exam, rule: Rule) -> Decision:
    decision = judged(given_exam)
    assert decision.verdict is Verdict.REFUSED
    assert [found.rule for found in not_held(decision)] == [rule]
    # nothing was compared, and every word is stored
    assert {found.rule for found in decision.findings} == {
        Rule.FINITE,
        Rule.BOTH_CLASSES,
        Rule.CANARIES,
        Rule.ANCESTRY,
    }
    assert Decision.from_json(decision.to_json()) == decision
    return decision


def test_what_is_sound_is_compared() -> None:
    assert judged(SOUND).verdict is Verdict.INSUFFICIENT_EVIDENCE


@settings(max_examples=40)
@given(
    role=st.sampled_from(["challenger", "champion", "anchor"]),
    column=st.sampled_from(["scores", "probabilities"]),
    row=st.integers(0, len(SOUND.test) - 1),
    value=st.sampled_from([np.nan, np.inf, -np.inf, -1e-9, 1.0000001]),
)
def test_anything_that_is_no_share_refuses(role: str, column: str, row: int, value: float) -> None:
    sound = replace(SOUND, anchor=replace(SOUND.champion, digest="anchor"))
    model = sound.models[role]
    values = getattr(model, column).copy()
    values[row] = value
    decision = refused(replace(sound, **{role: replace(model, **{column: values})}), Rule.FINITE)
    assert f"1 of the {role}'s {column} are no number" in decision.reason


@pytest.mark.parametrize("role", ["challenger", "champion", "anchor"])
def test_a_threshold_that_is_no_share_refuses(role: str) -> None:
    sound = replace(SOUND, anchor=replace(SOUND.champion, digest="anchor"))
    broken = replace(sound.models[role], threshold=float("nan"))
    assert f"the {role}'s threshold" in refused(replace(sound, **{role: broken}), Rule.FINITE).reason


@pytest.mark.parametrize(("label", "words"), [(0, "no image with"), (1, "no image without")])
def test_an_empty_class_refuses(label: int, words: str) -> None:
    test = replace(SOUND.test, labels=np.full(len(SOUND.test), label))
    assert words in refused(replace(SOUND, test=test), Rule.BOTH_CLASSES).reason


def test_an_empty_test_set_refuses() -> None:
    nothing = np.empty(0)
    models = {role: replace(model, scores=nothing, probabilities=nothing) for role, model in SOUND.models.items()}
    test = replace(SOUND.test, labels=np.empty(0, np.int64), patients=())
    decision = refused(replace(SOUND, test=test, **models), Rule.BOTH_CLASSES)
    assert "no image with pneumonia in the test set; no image without" in decision.reason


def test_a_label_of_neither_class_refuses() -> None:
    labels = SOUND.test.labels.copy()
    labels[3] = 2
    assert "1 labels" in refused(replace(SOUND, test=replace(SOUND.test, labels=labels)), Rule.BOTH_CLASSES).reason


@pytest.mark.parametrize("canaries", [[], [0.2, np.nan], [np.inf], [0.5, 1.5]])
def test_canaries_that_say_nothing_refuse(canaries: list[float]) -> None:
    refused(replace(SOUND, canaries=np.array(canaries, np.float64)), Rule.CANARIES)


@pytest.mark.parametrize(
    ("ancestry", "words"),
    [
        ({"challenger": frozenset({"patient-00007"})}, "the challenger was fitted on 1 of the 60 test patients"),
        (
            {"challenger": frozenset({"x"}), "0123456789abcdef": frozenset({"patient-00007", "patient-00008", "x"})},
            "its ancestor 0123456789ab was fitted on 2 of the 60",
        ),
        ({"challenger": frozenset({"x"}), "older": None}, "its ancestor older was fitted on is not known"),
        ({"challenger": frozenset()}, "the challenger was fitted on is not known"),
        ({"older": frozenset({"x"})}, "the challenger was fitted on is not said"),
    ],
)
def test_a_test_somebody_may_have_seen_refuses(ancestry: dict[str, frozenset[str] | None], words: str) -> None:
    assert words in refused(replace(SOUND, ancestry=ancestry), Rule.ANCESTRY).reason
