import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from core import logging as lungwatch_logging
from core.errors import RejectedInput
from core.settings import Settings

CANARY = "Doe^Jane^CANARY"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lungwatch_logging.configure(Settings())
    lungwatch_logging.get("worker.engine").info("receipt_finished", receipt=7)
    (line,) = _lines(capsys)
    assert line["event"] == "receipt_finished"
    assert line["receipt"] == 7
    assert line["level"] == "info"
    assert str(line["timestamp"]).endswith("Z")


def test_a_foreign_exception_is_named_but_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    lungwatch_logging.configure(Settings())
    try:
        raise ValueError(CANARY)
    except ValueError:
        lungwatch_logging.get("worker.engine").exception("image_failed", receipt=7)
    captured = capsys.readouterr().err
    assert CANARY not in captured
    line = json.loads(captured)
    assert line["error"] == "ValueError"
    assert "test_a_foreign_exception" in line["at"]


def test_our_own_message_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lungwatch_logging.configure(Settings())
    try:
        raise RejectedInput("EMPTY", "the data set has no bytes")
    except RejectedInput:
        lungwatch_logging.get("worker.engine").exception("image_failed")
    (line,) = _lines(capsys)
    assert line["message"] == "EMPTY: the data set has no bytes"


@pytest.mark.parametrize("name", ["pydicom", "pynetdicom.acse", "sqlalchemy.engine", "kombu"])
def test_what_a_library_says_is_placed_but_not_quoted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lungwatch_logging.configure(Settings())
    logging.getLogger(name).error("bad value %s", CANARY)
    logging.getLogger(name).info("chatter %s", CANARY)
    captured = capsys.readouterr().err
    assert CANARY not in captured
    assert len(captured.splitlines()) == 1
    assert json.loads(captured)["event"] == "library_message"


def test_a_forged_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lungwatch_logging.configure(Settings())
    lungwatch_logging.get("x").warning("association_refused", peer='A\n{"event": "forged"}')
    assert len(_lines(capsys)) == 1


def test_a_warning_that_quotes_a_value_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        lungwatch_logging.configure(Settings())
        warnings.warn_explicit(f"Invalid value {CANARY}", UserWarning, "valuerep.py", 1, module="pydicom.valuerep")
        warnings.warn_explicit(f"other {CANARY}", UserWarning, "other.py", 1, module="someone.else")
    assert CANARY not in capsys.readouterr().err
