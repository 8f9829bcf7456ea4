from __future__ import annotations

from pathlib import Path

import pytest

from cli.__main__ import run
from tests.factories.collections import published, write_zip


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


def test_what_is_wrong_is_said_before_anything_is_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_zip(tmp_path / "c.zip", published(3, 3)))
    few = str(write_zip(tmp_path / "few.zip", published(2, 3)))
    for arguments, message in (
        (["--protocol", "seed"], "say which data set"),
        ([data, "--data", data, "--protocol", "seed"], "say which data set"),
        ([data, "--protocol", "seed", "--models", "base,resnet"], "no network is called 'resnet'"),
        ([data, "--protocol", "seed", "--models", ","], "--models names none"),
        ([str(tmp_path / "no.zip"), "--protocol", "seed"], "no such folder or zip"),
        (["--data", few, "--protocol", "patient"], "too few patients"),
        ([data, "--protocol", "nested"], "nested"),
        ([data, "--protocol", "seed", "--models", "vgg16,champion", "--as-notebook"], "leave --as-notebook out"),
    ):
        assert run(["compare", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("compare-*"))
