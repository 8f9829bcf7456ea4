"""Fixtures for tests that attack a listener."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.peers.scene import Scene


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
    scene.honest.served_since(began)
