from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.data_directory import prepare_data
from cli.serve import child_environment, introduction, only_one, plans
from core import failpoints
from core.errors import Misconfigured
from core.settings import Settings
from dicom_listener.announcement import Address


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


def test_the_data_directory_is_made_and_left_clean(settings: Settings) -> None:
    prepare_data(settings)
    prepare_data(settings)
    assert list(settings.data_dir.iterdir()) == []


def test_a_person_is_told_how_to_try_it(make_settings: Callable[..., Settings]) -> None:
    plain = "\n".join(introduction(make_settings(), Address("127.0.0.1", 11112, "OURS")))
    assert "OURS at 127.0.0.1 port 11112\n" in plain
    assert "echoscu -aec OURS 127.0.0.1 11112\n" in plain
    both = "\n".join(introduction(make_settings(), Address("127.0.0.1", 11112, "OURS", tls_port=2762)))
    assert "OURS at 127.0.0.1 port 11112 and port for TLS 2762\n" in both
    assert "echoscu -aec OURS 127.0.0.1 11112\n" in both


@pytest.mark.parametrize(("authorities", "own"), [(None, "+tla"), ("ca.crt", "+tls PEER.key PEER.crt")])
def test_where_there_is_tls_alone_it_is_tried_with_tls(
    make_settings: Callable[..., Settings], authorities: str | None, own: str
) -> None:
    settings = make_settings(tls_client_ca_file=authorities)
    said = "\n".join(introduction(settings, Address("127.0.0.1", None, "OURS", tls_port=2762)))
    assert f"echoscu {own} +cf CA.crt -aec OURS 127.0.0.1 2762\n" in said
    assert "None" not in said
