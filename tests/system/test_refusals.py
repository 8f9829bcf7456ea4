"""What `serve` and `work` say of an installation that is wrong, before they promise anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ExitCode
from tests.system.serving import command
from worker.audit import KEY_FILE


@pytest.mark.parametrize("name", ["serve", "work"])
@pytest.mark.parametrize("wrong", ["no directory", "a key", "audit key"])
def test_a_key_that_cannot_be_read_is_refused_at_start(tmp_path: Path, name: str, wrong: str) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys"
    assert command("db", "upgrade", data=data).returncode == 0
    if wrong == "a key":
        (keys / "unreadable.pem").mkdir(parents=True)
    if wrong == "audit key":
        keys.mkdir()
        (data / KEY_FILE).mkdir()
    said = command(name, data=data, settings={"trusted_keys_dir": str(keys)})
    assert said.returncode == ExitCode.MISCONFIGURED
    named = {"no directory": "LUNGWATCH_TRUSTED_KEYS_DIR", "a key": "unreadable.pem", "audit key": KEY_FILE}[wrong]
    assert named in said.stderr
    assert "cannot be" in said.stderr
    assert "Traceback" not in said.stderr
