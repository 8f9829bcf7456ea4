from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pytest
from sqlalchemy import Engine

from cli import ledger
from cli.__main__ import run
from core.settings import Settings


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Lungwatch(Protocol):
    def __call__(self, *arguments: str) -> Said: ...


@pytest.fixture
def lungwatch(
    ledger_settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Lungwatch:
    """The command in this process, on a migrated ledger of each kind, with logging left to pytest."""
    del engine
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(ledger_settings.data_dir))
    monkeypatch.setenv("LUNGWATCH_FREE_SPACE_BYTES", "0")
    monkeypatch.setenv("LUNGWATCH_FREE_SPACE_FRACTION", "0")
    if ledger_settings.database_url is not None:
        monkeypatch.setenv("LUNGWATCH_DATABASE_URL", ledger_settings.database_url.get_secret_value())
    monkeypatch.setattr(ledger, "configure", lambda _: None)

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(list(arguments))
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return command
