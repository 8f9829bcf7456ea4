from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.factories.nights import failed, night
from training.fitting.run import Epoch
from training.nightly.gate.decision import Decision
from training.nightly.report.measured import measure
from training.nightly.report.night import Night, Role
from training.nightly.report.record import json_text


@pytest.fixture(scope="module")
def given() -> Night:
    return night(thumbnails=False)


def written(given: Night) -> dict[str, Any]:
    found = [None if examined is None else measure(examined, 60) for examined in (given.test, given.recent)]
    content: dict[str, Any] = json.loads(json_text(given, *found))
    return content


@pytest.fixture(scope="module")
def whole(given: Night) -> dict[str, Any]:
    return written(given)


def test_every_model_has_its_figures_and_calls_on_both_sets(given: Night, whole: dict[str, Any]) -> None:
    challenger, champion, anchor = whole["models"]
    assert [model["role"] for model in whole["models"]] == list(Role)
    assert set(champion["test"]["metrics"]["auc"]) == {"value", "low", "high"}
    assert challenger["test"]["metrics"]["auc"]["value"] > champion["test"]["metrics"]["auc"]["value"]
    assert anchor["recent"]["metrics"]["auc"]["value"] == champion["recent"]["metrics"]["auc"]["value"]
    assert given.test is not None
    counts = champion["test"]["confusion"]["PNEUMONIA"]
    assert counts["suspected"] == int((given.test.answers[Role.CHAMPION].scores[given.test.pictures.ill] >= 0.5).sum())
    assert sum(counts.values()) == whole["test"]["ill_images"] == 400


def test_the_decision_is_whole(given: Night, whole: dict[str, Any]) -> None:
    assert Decision.model_validate(whole["decision"]) == given.decision


def test_what_else_is_known_is_there(whole: dict[str, Any]) -> None:
    assert (whole["night"], whole["state"], whole["kind"]) == ("2026-03-01", "PROMOTED", "FINE_TUNE")
    assert whole["snapshot"]["counts"]["FIT"] == {"NORMAL": 1120, "PNEUMONIA": 3310}
    assert whole["labels"]["by_origin"]["VERDICT"] == {"PNEUMONIA": 77}
    assert whole["steps"][0] == {"step": "SNAPSHOT", "seconds": 7.25}
    assert whole["test"]["subgroups"]["sex: F"]["gain"]["sensitivity"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert whole["settings"]["LUNGWATCH_GATE_METRIC"] == "auc"
    assert whole["started_at"] == "2026-03-01T01:30:00+00:00"
    assert [epoch["number"] for epoch in whole["epochs"]] == list(range(1, 9))


def test_disagreements_are_told_by_number_without_pictures(whole: dict[str, Any]) -> None:
    assert len(whole["disagreements"]) == 24
    assert set(whole["disagreements"][0]) == {"number", "label", "examined_on", "scores"}


def test_what_is_no_number_is_null(given: Night, whole: dict[str, Any]) -> None:
    assert whole["drift"]["panels"][0]["edges"] == [None, 0.1, 0.5, 0.9, None]
    lost = replace(given, test=None, recent=None, epochs=(Epoch(1, np.nan, np.inf, 0.5, 1.0),))
    assert written(lost)["epochs"][0]["loss"] is None
    assert written(lost)["epochs"][0]["watch_loss"] is None


def test_numbers_of_numpy_are_numbers(given: Night) -> None:
    one = replace(
        given.disagreements[0], number=np.int64(7), scores={Role.CHAMPION: np.float32(0.5), Role.ANCHOR: np.nan}
    )
    found = written(replace(given, test=None, recent=None, disagreements=(one,)))["disagreements"]
    assert (found[0]["number"], found[0]["scores"]) == (7, {"champion": 0.5, "anchor": None})


def test_a_night_that_failed_early_has_the_same_shape(whole: dict[str, Any]) -> None:
    found = written(failed())
    assert list(found) == list(whole)
    assert (found["state"], found["models"], found["decision"], found["test"]) == ("FAILED", [], None, None)
