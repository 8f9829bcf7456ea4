from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.data_directory import prepare_data
from cli.serve import check_port, child_environment, only_one, plans
from core import failpoints
from core.errors import Misconfigured
from core.settings import Settings


def test_one_worker_alone_has_beat_and_the_listener_stops_first(settings: Settings) -> None:
    server, registrar, *workers = plans(settings, 3)
    assert server.arguments[-2:] == ("dicom_listener", "server")
    assert registrar.arguments[-2:] == ("dicom_listener", "registrar")
    assert [plan.arguments[-1] for plan in workers] == ["--beat", "work", "work"]
    assert len({plan.name for plan in workers}) == 3
    assert (server.stage, registrar.stage, {plan.stage for plan in workers}) == (0, 1, {2})
    assert server.stop_seconds > settings.drain_timeout
    assert all(plan.stop_seconds > settings.helper_seconds for plan in workers)


def test_children_inherit_no_failpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "x")
    monkeypatch.delenv("LUNGWATCH_LOG_JSON", raising=False)
    assert failpoints.ENVIRONMENT_VARIABLE not in child_environment(lines_for_a_person=False)
    assert "LUNGWATCH_LOG_JSON" not in child_environment(lines_for_a_person=False)
    assert child_environment(lines_for_a_person=True)["LUNGWATCH_LOG_JSON"] == "false"
    monkeypatch.setenv("LUNGWATCH_LOG_JSON", "true")
    assert child_environment(lines_for_a_person=True)["LUNGWATCH_LOG_JSON"] == "true"


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(Misconfigured, match=f"process {os.getpid()}"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_port_that_is_taken_is_said_before_anything_starts(make_settings: Callable[..., Settings]) -> None:
    check_port(make_settings(listen_port=0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"port {port} is already in use"):
            check_port(make_settings(listen_port=port))


def test_the_data_directory_is_made_and_left_clean(settings: Settings) -> None:
    prepare_data(settings)
    prepare_data(settings)
    assert list(settings.data_dir.iterdir()) == []
