from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.soak import main


@pytest.mark.timeout(240)
def test_a_short_soak_accounts_for_every_instance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some seconds with kills and a restart: everything works that ``make soak`` does for ten minutes."""
    figures = tmp_path / "soak.json"
    options = f"--minutes 0.2 --kill-seconds 3 --associations 3 --seed 1 --scratch {tmp_path} --json {figures}"
    assert main(options.split()) == 0, capsys.readouterr().out
    said = json.loads(figures.read_text())
    held = said["balance"]
    assert held["acknowledged"] > said["over_tls"] > 0
    assert held["lost"] == held["foreign"] == 0
    assert held["entries"] == held["registered"] >= held["acknowledged"]
    assert said["kills"] > 0
    assert said["drain"][0] == 0
    assert not list(tmp_path.glob("lungwatch-soak-*"))
