from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.settings import Settings
from training.nightly.drift.rules import Rules, rules_of


def test_each_rule_is_the_setting_of_its_name() -> None:
    found = rules_of(Settings(drift_psi_notice=0.2, drift_rate_strong=0.7, drift_blocks=False))
    assert (found.psi_notice, found.psi_strong, found.rate_strong, found.blocks) == (0.2, 0.25, 0.7, False)


@pytest.mark.parametrize("change", [{"psi_notice": 0}, {"chance": 1.0}, {"rate_notice": float("nan")}])
def test_rules_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Rules.model_validate(rules_of(Settings()).model_dump() | change)
