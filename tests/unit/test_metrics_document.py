from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from core.metrics.families import Family
from core.settings import Settings
from dicom_listener.metrics import collector
from worker.metrics.families import LEDGER, LEDGER_FAMILIES, WORKER, WORKER_FAMILIES

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = (DOCS / "metrics.md").read_text()
ALL = (*collector.FAMILIES, *WORKER_FAMILIES, *LEDGER_FAMILIES)
SCRAPE, ALERTS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, flags=re.DOTALL)]


@pytest.mark.parametrize(
    ("prefix", "families"),
    [(collector.PREFIX, collector.FAMILIES), (WORKER, WORKER_FAMILIES), (LEDGER, LEDGER_FAMILIES)],
)
def test_it_has_every_metric_in_our_words(prefix: str, families: tuple[Family, ...]) -> None:
    lines = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{prefix}")]
    assert lines == [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels) or '-'} | "
        f"{family.help} |"
        for family in families
    ]


def test_every_label_is_explained() -> None:
    explained = {
        label
        for line in DOCUMENT.splitlines()
        if line.startswith("| `")
        for label in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert {label for family in ALL for label in family.labels} <= explained


def test_the_targets_are_the_default_ports() -> None:
    ports = [config["static_configs"][0]["targets"] for config in SCRAPE["scrape_configs"]]
    listener, worker = (Settings.model_fields[f"{name}_metrics_port"].default for name in ("listener", "worker"))
    assert ports == [[f"127.0.0.1:{listener}"], [f"127.0.0.1:{worker}", f"127.0.0.1:{worker + 1}"]]


def test_the_alerts_name_metrics_there_are_and_the_runbook_those_of_workers() -> None:
    rules = {rule["alert"]: rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]}
    assert len(rules) == 6
    for expression in rules.values():
        named = re.findall(r"lungwatch_\w+", expression)
        assert named
        assert set(named) <= {family.name for family in ALL}
    runbook = (DOCS / "runbook.md").read_text()
    of_workers = [rule["alert"] for rule in ALERTS["groups"][1]["rules"]]
    assert [alert for alert in of_workers if f"`{alert}`" not in runbook] == []
