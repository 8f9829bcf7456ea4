from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import Settings

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
LINES = dict(re.findall(r"^#?LUNGWATCH_([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert {name.lower() for name in LINES} == set(Settings.model_fields)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_the_default_and_the_description_are_the_real_ones(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, "every setting says what it is"
    assert f"# {field.description}" in EXAMPLE.read_text()
    if field.default is None:
        return
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    assert LINES[name.upper()] == str(value)


def test_a_copy_with_every_line_uncommented_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".env"
    copy.write_text(re.sub(r"^#(LUNGWATCH_)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    monkeypatch.setitem(Settings.model_config, "env_file", str(copy))
    assert Settings().ae_title == "LUNGWATCH"
