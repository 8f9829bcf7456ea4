from __future__ import annotations

import io

import pytest
from sqlalchemy.exc import OperationalError

from cli.errors import MEANING, epilog, explain, report
from core.errors import ExitCode, LungwatchError, Misconfigured, RejectedInput, TransientFailure


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Misconfigured("LUNGWATCH_X: wrong; set it right"), ExitCode.MISCONFIGURED, "LUNGWATCH_X: wrong; set it right"),
        (RejectedInput("TRUNCATED", "the file ends early"), ExitCode.FINDING, "TRUNCATED"),
        (TransientFailure("the broker is away."), ExitCode.OUTSIDE, "the broker is away. Trying again may help."),
        (LungwatchError("not found"), ExitCode.FINDING, "not found"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
        (PermissionError(13, "Permission denied", "/data"), ExitCode.OUTSIDE, "/data: Permission denied"),
        (OperationalError("SELECT 'Doe^Jane'", {}, Exception("Doe^Jane")), ExitCode.OUTSIDE, "lungwatch db check"),
        (ModuleNotFoundError("No module", name="psycopg.x"), ExitCode.MISCONFIGURED, "psycopg.x is not installed"),
        (ModuleNotFoundError("No module", name="cli.x"), ExitCode.UNEXPECTED, "please report"),
        (ValueError("Doe^Jane"), ExitCode.UNEXPECTED, "ValueError"),
    ],
)
def test_each_kind_of_error_has_its_code_and_says_what_to_do(error: BaseException, code: ExitCode, said: str) -> None:
    found, message = explain(error)
    assert found is code
    assert said in message
    assert "\n" not in message


def test_no_text_of_a_librarys_exception_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_LOG_LEVEL", "DEBUG")
    stream = io.StringIO()
    with pytest.raises(ValueError, match="Doe") as caught:
        raise ValueError("Doe^Jane")
    assert report(caught.value, stream) is ExitCode.UNEXPECTED
    assert "Doe^Jane" not in stream.getvalue()
    assert "test_errors.py" in stream.getvalue()


def test_help_names_every_exit_code() -> None:
    assert set(MEANING) == set(ExitCode)
    for code in ExitCode:
        assert str(code.value) in epilog()
