"""The listener's settings that only make sense together."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.settings import Settings, load

FILES = {"TLS_CERTIFICATE_FILE": "/etc/lungwatch/tls.crt", "TLS_KEY_FILE": "/etc/lungwatch/tls.key"}


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"LUNGWATCH_{name}", value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"LISTEN_PLAIN": "false"}, "nobody could connect"),
        ({"LISTEN_PLAIN": "false", "TLS_PORT": "", **FILES}, "nobody could connect"),
        ({"TLS_PORT": "2762"}, "tls_port needs tls_certificate_file and tls_key_file"),
        ({"TLS_PORT": "0"}, "tls_port needs"),
        ({"TLS_PORT": "2762", "TLS_CERTIFICATE_FILE": FILES["TLS_CERTIFICATE_FILE"]}, "tls_port needs"),
        ({"TLS_PORT": "2762", "TLS_KEY_FILE": FILES["TLS_KEY_FILE"]}, "tls_port needs"),
        ({"TLS_PORT": "2762", "TLS_CLIENT_CA_FILE": "/etc/lungwatch/clients.pem"}, "tls_port needs"),
        ({"TLS_PORT": "11112", **FILES}, "listen_port and tls_port are the same, 11112: give each a port of its own"),
        ({"LISTENER_METRICS_PORT": "11112"}, "listen_port and listener_metrics_port are the same"),
        ({"TLS_PORT": "11190", **FILES}, "tls_port and listener_metrics_port are the same"),
    ],
)
def test_what_contradicts_itself_is_refused(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], says: str) -> None:
    given(monkeypatch, **values)
    with pytest.raises(Misconfigured, match=says):
        load()


@pytest.mark.parametrize(
    "name",
    [name.upper() for name in Settings.model_fields if name.endswith(("_file", "_dir", "_host"))],
)
def test_an_empty_place_is_refused_not_guessed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given(monkeypatch, **{name: ""})
    with pytest.raises(Misconfigured, match=rf": LUNGWATCH_{name}: is empty; name "):
        load()


@pytest.mark.parametrize(
    "values",
    [
        # beside the plain port, instead of it, and without it
        {"TLS_PORT": "2762", **FILES},
        {"TLS_PORT": "2762", "LISTEN_PLAIN": "false", **FILES},
        {"TLS_PORT": "", **FILES},
        # one that the system chooses
        {"TLS_PORT": "0", **FILES},
        {"TLS_PORT": "0", "LISTEN_PORT": "0", "LISTENER_METRICS_PORT": "0", **FILES},
        # the port that the plain one would have had
        {"TLS_PORT": "11112", "LISTEN_PLAIN": "false", **FILES},
        {"MAXIMUM_ASSOCIATIONS": "1", "RESERVED_ASSOCIATIONS": "0"},
        {"MAXIMUM_ASSOCIATIONS": "17", "RESERVED_ASSOCIATIONS": "16"},
    ],
)
def test_what_fits_together_is_taken(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    given(monkeypatch, **values)
    settings = load()
    port = values.get("TLS_PORT")
    assert settings.tls_port == (int(port) if port else None)


@pytest.mark.parametrize(("name", "value"), [("TLS_PORT", "65536"), ("TLS_PORT", "-1"), ("TLS_PORT", "tls")])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    given(monkeypatch, **{name: value, **FILES})
    with pytest.raises(Misconfigured, match=f"LUNGWATCH_{name}"):
        load()


def test_an_empty_metrics_port_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().listener_metrics_port == 11190
    given(monkeypatch, LISTENER_METRICS_PORT="")
    assert load().listener_metrics_port is None


def test_the_peers_file_lies_in_the_data_directory_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, DATA_DIR="/srv/lungwatch")
    assert load().peers == Path("/srv/lungwatch/peers.toml")
    given(monkeypatch, PEERS_FILE="/etc/lungwatch/peers.toml")
    assert load().peers == Path("/etc/lungwatch/peers.toml")
