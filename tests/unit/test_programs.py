from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import programs

TESTS = Path(__file__).resolve().parents[1]
# what is never in the repository, and backends that are no requirement of ours, cannot be required by it
MAY_SKIP = {"programs.py", "shared_data.py", "test_bundle_backends.py", Path(__file__).name}


def shim(folder: Path, code: int) -> None:
    folder.mkdir()
    (folder / "unshare").write_text(f"#!/bin/sh\necho 'Operation not permitted' >&2\nexit {code}\n")
    (folder / "unshare").chmod(0o755)


def no_mounts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    shim(folder / "bin", 1)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    return programs.require_mounts


def no_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setenv("PATH", str(folder))
    return lambda: programs.require("dcm2pnm")


@pytest.mark.parametrize("lacking", [no_mounts, no_program])
def test_what_is_lacking_is_skipped_unless_everything_is_required(
    lacking: Callable[[Path, pytest.MonkeyPatch], Callable[[], object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = lacking(tmp_path, monkeypatch)
    monkeypatch.delenv("LUNGWATCH_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"run as root|apt-get install dcmtk"):
        ask()
    monkeypatch.setenv("LUNGWATCH_TEST_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match=r"run as root|apt-get install dcmtk"):
        ask()


def test_where_mounting_works_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim(tmp_path / "bin", 0)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    programs.require_mounts()


def test_no_test_skips_by_itself() -> None:
    words = ("pytest.skip", "skipif", "importorskip", "mark.skip")
    found = [
        path.relative_to(TESTS)
        for path in TESTS.rglob("*.py")
        if path.name not in MAY_SKIP and any(word in path.read_text() for word in words)
    ]
    assert found == []
