"""Which model serves, through everything that may be wrong with a bundle (fault rows 24 to 26)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from bundle.errors import BundleRefused
from core.clock import SystemClock
from core.settings import Settings
from db.base import make_sessions
from db.registry import NewModel, champion, install_champion_if_none, promote, register
from db.vocabulary import ChangeKind, ModelOrigin
from tests.factories.bundles import make_bundle, make_key, starter, write_public
from tests.waiting import wait_until
from worker import serving
from worker.champion import ChampionWatch


@pytest.fixture
def site(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "site.pem")
    return make_settings(trusted_keys_dir=keys)


@pytest.fixture
def ledger(sqlite_engine: Engine) -> sessionmaker[Session]:
    return make_sessions(sqlite_engine)


def watch(site: Settings, ledger: sessionmaker[Session]) -> ChampionWatch:
    return ChampionWatch(
        ledger,
        open_bundle=lambda wanted: serving.open_bundle(site, wanted),
        install_starter=lambda session: serving.install_starter(site, session),
        poll_seconds=0.0,
        clock=SystemClock(),
    )


def look_until(watching: ChampionWatch, done: Callable[[], bool], what: str) -> None:
    def looked() -> bool:
        watching.look()
        return done()

    wait_until(looked, 30, what)


def install(site: Settings, ledger: sessionmaker[Session], version: str) -> Path:
    """Write a bundle signed by the site's key, register it and make it champion."""
    directory = site.bundles / f"test-{version}"
    digest = make_bundle(directory, version=version)
    with ledger.begin() as session:
        new = NewModel.of(
            {**starter().manifest.model_dump(mode="json"), "name": "test", "version": version},
            origin=ModelOrigin.TRAINED,
            bundle_digest=digest,
            location=directory.name,
        )
        row = register(session, new)
        if not install_champion_if_none(session, row.id):
            reign = champion(session)
            assert reign is not None
            promote(session, row.id, reign.fencing_token, kind=ChangeKind.PROMOTED, actor="somebody", reason="a test")
    return directory


def test_the_starter_is_installed_where_there_is_no_champion(site: Settings, ledger: sessionmaker[Session]) -> None:
    watching = watch(site, ledger)
    look_until(watching, lambda: watching.serving is not None, "the starter serves")
    assert watching.serving is not None
    assert watching.serving.wanted.location == "starter"
    assert watching.problem is None
    # a second worker finds it there
    second = watch(site, ledger)
    look_until(second, lambda: second.serving is not None, "the starter serves again")


def test_row_24_a_new_champion_is_swapped_in_and_a_corrupt_one_is_not(
    site: Settings, ledger: sessionmaker[Session]
) -> None:
    watching = watch(site, ledger)
    install(site, ledger, "1")
    look_until(watching, lambda: watching.serving is not None, "version 1 serves")
    install(site, ledger, "2")
    look_until(watching, lambda: watching.serving is not None and watching.serving.wanted.version == "2", "2 serves")
    corrupt = install(site, ledger, "3")
    path = corrupt / "model.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    look_until(watching, lambda: watching.problem is not None, "version 3 is refused")
    assert watching.serving is not None
    assert watching.serving.wanted.version == "2"
    assert watching.problem is not None
    assert "2 keeps serving" in watching.problem
    assert len(watching.problem) < 200


def test_row_25_without_any_bundle_a_worker_is_not_ready(site: Settings, ledger: sessionmaker[Session]) -> None:
    shutil.rmtree(install(site, ledger, "1"))
    watching = watch(site, ledger)
    look_until(watching, lambda: watching.problem is not None, "the bundle is missed")
    assert watching.serving is None


def test_a_refused_starter_is_a_problem_and_not_a_crash(site: Settings, ledger: sessionmaker[Session]) -> None:
    def refuse(_: Session) -> None:
        message = "the starter is altered"
        raise BundleRefused(message)

    watching = ChampionWatch(
        ledger,
        open_bundle=lambda wanted: serving.open_bundle(site, wanted),
        install_starter=refuse,
        poll_seconds=0.0,
        clock=SystemClock(),
    )
    watching.look()
    assert watching.serving is None
    assert watching.problem is not None
    assert "altered" in watching.problem


def test_row_25_a_bundle_that_comes_back_is_taken(
    site: Settings, ledger: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("worker.champion._RETRY_SECONDS", 0.0)
    directory = install(site, ledger, "1")
    away = tmp_path / "away"
    directory.rename(away)
    watching = watch(site, ledger)
    look_until(watching, lambda: watching.problem is not None, "the bundle is missed")
    away.rename(directory)
    look_until(watching, lambda: watching.serving is not None, "the bundle is back")
    assert watching.problem is None
