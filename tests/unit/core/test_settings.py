from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import Misconfigured
from core.settings import OutsideIntendedUse, Settings, load


def test_defaults_need_nothing() -> None:
    settings = load()
    assert settings.database_url is None
    assert not settings.has_broker
    assert settings.outside_intended_use is OutsideIntendedUse.WITHHOLD


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_MODALITIES", "CR, DX,DR")
    assert load().modalities == ("CR", "DX", "DR")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODALITIES", ""),
        ("CHEST_SYNONYMS", " , "),
        ("LISTEN_PORT", "eleven"),
        ("LISTEN_PORT", "70000"),
        ("AE_TITLE", "A\\B"),
        ("AE_TITLE", "   "),
        ("AE_TITLE", "x" * 17),
        ("OUTSIDE_INTENDED_USE", "ignore"),
        ("SITE_PREVALENCE", "1"),
        ("LISTENER_NAME", "../x"),
        ("LOG_LEVEL", "LOUD"),
        ("AUDIT_KEY", "short"),
        # a host that beats more rarely would be taken for gone
        ("HEARTBEAT_SECONDS", "10.5"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LUNGWATCH_{name}", value)
    with pytest.raises(Misconfigured, match=f"LUNGWATCH_{name}"):
        load()


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in {int, float, float | None}]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "9" * 30])
@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_endless_or_absurd(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LUNGWATCH_{name.upper()}", value)
    with pytest.raises(Misconfigured, match=f"LUNGWATCH_{name.upper()}: "):
        load()


def test_a_lease_outlives_the_helper_it_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_LEASE_SECONDS", "10")
    with pytest.raises(Misconfigured, match="lease_seconds"):
        load()


@pytest.mark.parametrize(("name", "value"), [("PSI_STRONG", "0.05"), ("RATE_NOTICE", "0.6")])
def test_strong_drift_is_no_less_than_what_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LUNGWATCH_DRIFT_{name}", value)
    with pytest.raises(Misconfigured, match="drift_psi_strong and drift_rate_strong"):
        load()


def test_a_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_LISTEN_PORT", "hunter2")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_LISTN_PORT", "104")
    with pytest.raises(Misconfigured, match="did you mean LUNGWATCH_LISTEN_PORT"):
        load()


def test_a_misspelt_setting_in_the_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LUNGWATCH_AE_TITEL=X\nOTHER=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / ".env"))
    with pytest.raises(Misconfigured, match="LUNGWATCH_AE_TITLE"):
        load()


def test_secrets_do_not_show() -> None:
    secret = "hunter2-hunter2-hunter2"
    settings = Settings(
        broker_url=f"redis://:{secret}@b/0", database_url=f"postgresql://u:{secret}@h/d", audit_key=secret
    )
    assert secret not in repr(settings)


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.listen_port = 1
