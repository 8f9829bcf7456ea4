from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from cli.__main__ import COMMANDS, load, run

HEAVY = ("tensorflow", "keras", "pynetdicom", "pydicom", "celery", "sqlalchemy", "numpy", "alembic")


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cli.__main__ import run; run(['--help']); "
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for name in COMMANDS:
        assert name in done.stdout
    assert "Exit codes" in done.stdout


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_comes_at_once() -> None:
    before = _processor_seconds()
    subprocess.run([sys.executable, "-m", "cli", "--help"], capture_output=True, check=True)
    # measured 0.3 s; TensorFlow alone takes 5
    assert _processor_seconds() - before < 3


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_can_be_loaded_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load(name)
    assert command.name == name
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"lungwatch {name}" in shown
    assert command.help


def test_no_command_but_those_that_fit_models_loads_tensorflow() -> None:
    names = [name for name in COMMANDS if name not in {"train", "evaluate", "predict"}]
    # one process for all of them: the first that loads it is named
    code = (
        "import sys; from cli.__main__ import load; "
        f"print(next((name for name in {names!r} if load(name) and 'tensorflow' in sys.modules), 'none'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resluts"]) == 2
    assert "resluts" in capsys.readouterr().err


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    run([])
    assert "Usage" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lungwatch ")


def test_a_wrong_setting_is_one_readable_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGWATCH_LISTEN_PORT", "eleven")
    assert run(["status"]) == 2
    said = capsys.readouterr().err
    assert "LUNGWATCH_LISTEN_PORT" in said
    assert "Traceback" not in said
