from __future__ import annotations

from dataclasses import replace

import pytest

from db.vocabulary import NightState, NightStep
from tests.factories.nights import failed, night
from training.nightly.report.measured import Calls, Measured, Measures
from training.nightly.report.night import Material, Night, Role, StepTaken
from training.nightly.report.summary import duration, headline, named, reasons, warnings


@pytest.fixture(scope="module")
def whole() -> Night:
    return night(40, thumbnails=False)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (NightState.PROMOTED, "se-resnet 10 is in service from now on; se-resnet 9 was before."),
        (NightState.KEPT, "se-resnet 9 stays in service; se-resnet 10 does not take its place."),
        (NightState.SHADOWED, "se-resnet 9 stays in service; se-resnet 10 passed, and scores live studies without"),
        (NightState.EVALUATED, "se-resnet 9 stays in service; it was examined again, and nothing was trained."),
        (NightState.CONTINUES, "se-resnet 9 stays in service; the night was too short for a fit, and a later one"),
        (NightState.RUNNING, "The night is not over; se-resnet 9 is in service."),
    ],
)
def test_the_first_sentence_says_which_model_is_in_service(whole: Night, state: NightState, words: str) -> None:
    assert headline(replace(whole, state=state)).startswith(words)


def test_every_end_of_a_night_has_a_sentence(whole: Night) -> None:
    assert len({headline(replace(whole, state=state)) for state in NightState}) == len(NightState)


def test_a_night_that_failed_names_the_step_and_claims_no_more_than_is_known(whole: Night) -> None:
    assert headline(failed()) == "The night failed in the step SNAPSHOT; the champion stays in service."
    # the swap may have been made before it failed
    late = replace(whole, state=NightState.FAILED, steps=(StepTaken(NightStep.PROMOTE, 1.0),))
    assert headline(late) == "The night failed in the step PROMOTE; `lungwatch models list` tells which is in service."
    assert headline(replace(failed(), steps=())).startswith(
        "The night failed before its first step; the champion stays"
    )


def test_the_gates_reason_is_given_once(whole: Night) -> None:
    assert whole.decision is not None
    gate = whole.decision.reason
    assert reasons(whole) == (gate,)
    assert reasons(replace(whole, reason="Strong drift.")) == (gate, "Strong drift.")
    assert reasons(replace(whole, reason=f"{gate} And drift.")) == (f"{gate} And drift.",)
    assert reasons(replace(whole, reason=None)) == (gate,)
    assert reasons(failed()) == (failed().reason,)
    assert reasons(replace(failed(), reason=None)) == ()


def test_what_to_look_at_is_said(whole: Night) -> None:
    assert whole.material is not None
    assert whole.drift is not None
    material = replace(whole.material, pixels_gone=3, changed_in_test=2)
    drift = replace(whole.drift, level="STRONG", blocks=True, panels=(replace(whole.drift.panels[0], level="STRONG"),))
    found = warnings(replace(whole, notes=("A note.",), material=material, drift=drift), None, None)
    assert found[:2] == ("A note.", "Drift: STRONG in score. It blocks promotion.")
    assert found[2].startswith("2 pictures of the test set are labelled otherwise by now")
    assert found[3] == "3 labelled pictures could not be used: their pixels are gone."
    quiet = replace(drift, level="NONE", blocks=False)
    assert warnings(replace(whole, drift=quiet), None, None) == ()


def test_a_night_without_a_test_set_says_that_nothing_can_be_promoted(whole: Night) -> None:
    found = warnings(replace(whole, material=Material("5" * 64, None, {}, 0), drift=None), None, None)
    assert found == ("There is no frozen test set, so nothing can be promoted: `lungwatch testset freeze` makes one.",)


def test_a_model_that_cannot_be_measured_is_said_but_not_of_an_empty_set(whole: Night) -> None:
    one = Measured({}, Calls(0, 0, 1), Calls(0, 0, 0), "1 of its scores are no number")
    measures = Measures(1, 1, 1, 1, {Role.CHALLENGER: one}, {})
    found = warnings(replace(whole, drift=None), measures, replace(measures, images=0))
    assert found == (
        "The challenger cannot be measured on the frozen test set, version 3: 1 of its scores are no number.",
    )


def test_the_frozen_test_set_is_called_by_its_version(whole: Night) -> None:
    assert whole.test is not None
    assert whole.recent is not None
    assert named(whole, whole.test) == "frozen test set, version 3"
    assert named(whole, whole.recent) == "newest reviewed weeks"
    assert named(replace(whole, material=None), whole.test) == "frozen test set"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (59.96, "1 min"), (100, "2 min"), (3599, "1 h 0 min"), (7265, "2 h 1 min")],
)
def test_times_are_said_as_a_person_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
