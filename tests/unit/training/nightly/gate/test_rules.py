from __future__ import annotations

import pytest

from core.settings import GateMetric, Settings
from training.nightly.gate.redrawn import Figure
from training.nightly.gate.rules import Rules, rules_of


def test_every_rule_is_a_setting_and_every_setting_a_rule() -> None:
    assert {f"gate_{name}" for name in Rules.model_fields} == {
        name for name in Settings.model_fields if name.startswith("gate_")
    }


def test_what_is_set_is_what_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_GATE_SENSITIVITY_MARGIN", "0.015")
    monkeypatch.setenv("LUNGWATCH_GATE_METRIC", "specificity")
    found = rules_of(Settings())
    assert found.sensitivity_margin == 0.015
    assert found.metric is GateMetric.SPECIFICITY
    assert found.auc_margin == 0.005
    assert Rules.model_validate_json(found.model_dump_json()) == found


def test_whatever_may_be_named_in_advance_is_measured() -> None:
    assert {metric.value for metric in GateMetric} <= {figure.value for figure in Figure}
