"""Fixtures: a listener under attack, and a worker without its process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from tests.integration.worker_kit import Bench
from tests.peers.scene import Scene
from worker.lanes import Lanes


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A listener with the settings that the module names in SETTINGS, and a known peer that stores all the time."""
    settings = getattr(request.module, "SETTINGS", {})
    with Scene.begin(tmp_path_factory.mktemp("scene") / "data", **settings) as begun:
        yield begun


@pytest.fixture
def attacked(scene: Scene) -> Iterator[Scene]:
    """The same; afterwards the known peer must have been served in time throughout the test."""
    began = time.monotonic()
    yield scene
    scene.close()
    scene.served_since(began)


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    """One helper for the whole module: starting it costs more than a test."""
    lanes = Lanes(Settings(_env_file=None, helper_processes=1))
    yield lanes
    lanes.close()


@pytest.fixture
def worker(ledger_settings: Settings, sessions: sessionmaker[Session], lanes: Lanes) -> Bench:
    return Bench(ledger_settings, sessions, None, lanes)
