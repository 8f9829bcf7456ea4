from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.registry import (
    ChampionMoved,
    ModelClash,
    NewModel,
    champion,
    find,
    install_champion_if_none,
    models,
    promote,
    register,
)
from db.vocabulary import ModelOrigin
from tests.factories.rows import digest

Sessions = sessionmaker[Session]

STARTER = NewModel(
    name="starter",
    version="1",
    origin=ModelOrigin.STARTER,
    bundle_digest=digest("starter"),
    location="starter",
    architecture="seed_regularised",
    preprocess_digest=digest("spec"),
    threshold=0.5,
    manifest={"labels": ["NORMAL", "PNEUMONIA"]},
)
TRAINED = replace(STARTER, version="2", origin=ModelOrigin.TRAINED, bundle_digest=digest("trained"))


def _register(sessions: Sessions, new: NewModel) -> int:
    with sessions.begin() as session:
        return register(session, new).id


def test_a_bundle_is_registered_once(sessions: Sessions) -> None:
    assert _register(sessions, STARTER) == _register(sessions, STARTER)
    _register(sessions, TRAINED)
    with sessions() as session:
        assert [model.version for model in models(session)] == ["1", "2"]
        found = find(session, "1", "starter")
        assert found is not None
        assert found.manifest == {"labels": ["NORMAL", "PNEUMONIA"]}
        assert find(session, "3") is None


def test_one_version_cannot_name_two_bundles(sessions: Sessions) -> None:
    _register(sessions, STARTER)
    with pytest.raises(ModelClash, match="starter 1"):
        _register(sessions, replace(STARTER, bundle_digest=digest("other")))


def test_many_workers_install_one_champion(sessions: Sessions) -> None:
    def work(_: int) -> bool:
        with sessions.begin() as session:
            return install_champion_if_none(session, register(session, STARTER).id)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 1
    with sessions() as session:
        reign = champion(session)
    assert reign is not None
    assert (reign.model.version, reign.fencing_token) == ("1", 1)


def test_there_may_be_no_champion(sessions: Sessions) -> None:
    model = _register(sessions, STARTER)
    with sessions.begin() as session:
        assert champion(session) is None
        with pytest.raises(ChampionMoved):
            promote(session, model, 1)


def test_a_stale_token_promotes_nothing(sessions: Sessions) -> None:
    starter, trained = _register(sessions, STARTER), _register(sessions, TRAINED)
    with sessions.begin() as session:
        install_champion_if_none(session, starter)
    with sessions.begin() as session:
        assert promote(session, trained, 1) == 2
    with pytest.raises(ChampionMoved), sessions.begin() as session:
        promote(session, starter, 1)
    with sessions() as session:
        reign = champion(session)
    assert reign is not None
    assert (reign.model.version, reign.fencing_token) == ("2", 2)
