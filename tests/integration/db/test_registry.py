from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

from db.champion_history import change_of, history, one_before
from db.models.learning import NightlyRun
from db.models.model import ChampionChange
from db.registry import (
    ChampionMoved,
    ModelClash,
    NewModel,
    Reign,
    anchor,
    champion,
    find,
    install_champion_if_none,
    models,
    name_anchor,
    promote,
    register,
)
from db.vocabulary import ChangeKind, ModelOrigin, NightState, NightStep
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


def _reign(sessions: Sessions) -> Reign:
    with sessions() as session:
        reign = champion(session)
    assert reign is not None
    return reign


def _anchor(sessions: Sessions) -> int:
    with sessions() as session:
        found = anchor(session)
    assert found is not None
    return found.id


def _promote(
    sessions: Sessions, model: int, token: int, kind: ChangeKind = ChangeKind.PROMOTED, *, becomes_anchor: bool = False
) -> int:
    with sessions.begin() as session:
        return promote(
            session, model, token, kind=kind, actor="somebody", reason="a test", becomes_anchor=becomes_anchor
        )


@pytest.fixture
def installed(sessions: Sessions) -> list[int]:
    """Four models, the first of them champion."""
    registered = [
        _register(sessions, replace(STARTER, version=str(number), bundle_digest=digest(number))) for number in range(4)
    ]
    with sessions.begin() as session:
        install_champion_if_none(session, registered[0])
    return registered


def test_many_workers_install_one_champion(sessions: Sessions) -> None:
    def work(_: int) -> bool:
        with sessions.begin() as session:
            return install_champion_if_none(session, register(session, STARTER).id)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 1
    reign = _reign(sessions)
    assert (reign.model.version, reign.fencing_token, reign.anchor_id) == ("1", 1, reign.model.id)
    with sessions() as session:
        (change,) = history(session)
    assert (change.kind, change.old_model_version_id, change.new_model_version_id, change.fencing_token) == (
        ChangeKind.INSTALLED,
        None,
        reign.model.id,
        1,
    )


def test_there_may_be_no_champion(sessions: Sessions) -> None:
    model = _register(sessions, STARTER)
    with sessions.begin() as session:
        assert champion(session) is None
        assert anchor(session) is None
        with pytest.raises(ChampionMoved):
            promote(session, model, 1, kind=ChangeKind.PROMOTED, actor="somebody", reason="a test")
        with pytest.raises(ChampionMoved):
            name_anchor(session, model, 1, actor="somebody", reason="a test")
        assert history(session) == []


def test_a_stale_token_promotes_nothing_and_leaves_no_row(sessions: Sessions, installed: list[int]) -> None:
    assert _promote(sessions, installed[1], 1) == 2
    with pytest.raises(ChampionMoved, match="models list"):
        _promote(sessions, installed[2], 1)
    with pytest.raises(ChampionMoved), sessions.begin() as session:
        name_anchor(session, installed[2], 1, actor="somebody", reason="a test")
    reign = _reign(sessions)
    assert (reign.model.id, reign.fencing_token) == (installed[1], 2)
    with sessions() as session:
        assert [change.fencing_token for change in history(session)] == [2, 1]


def test_of_promoters_at_once_one_wins_and_the_others_are_told(sessions: Sessions, installed: list[int]) -> None:
    ready = threading.Barrier(3)

    def work(model: int) -> int | None:
        ready.wait()
        try:
            return _promote(sessions, model, 1)
        except ChampionMoved:
            return None

    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(work, installed[1:]))
    assert sorted(said, key=str) == [2, None, None]
    reign = _reign(sessions)
    assert (reign.model.id, reign.fencing_token) == (installed[1 + said.index(2)], 2)
    with sessions() as session:
        assert [change.new_model_version_id for change in history(session)] == [reign.model.id, installed[0]]


def test_a_change_says_what_by_whom_why_and_by_which_night(sessions: Sessions, installed: list[int]) -> None:
    with sessions.begin() as session:
        night = NightlyRun(
            night=date(2026, 11, 3),
            state=NightState.RUNNING,
            step=NightStep.PROMOTE,
            token=digest("night")[:32],
            lease_until=datetime.now(UTC),
            started_at=datetime.now(UTC),
        )
        session.add(night)
        session.flush()
        assert change_of(session, night.id) is None
        promote(
            session,
            installed[1],
            1,
            kind=ChangeKind.PROMOTED,
            actor="nightly",
            reason="better",
            nightly_run_id=night.id,
            becomes_anchor=True,
        )
        change = change_of(session, night.id)
    assert change is not None
    assert (change.kind, change.old_model_version_id, change.new_model_version_id, change.anchor_id) == (
        ChangeKind.PROMOTED,
        installed[0],
        installed[1],
        installed[1],
    )
    assert (change.fencing_token, change.actor, change.reason) == (2, "nightly", "better")
    assert abs((change.changed_at - _reign(sessions).since).total_seconds()) < 1


def test_the_anchor_is_the_champion_until_something_else_is_promoted(sessions: Sessions, installed: list[int]) -> None:
    first, second, third, fourth = installed
    assert _anchor(sessions) == first
    # not as good as the anchor in everything: it must still be beaten
    _promote(sessions, second, 1)
    assert _anchor(sessions) == first
    _promote(sessions, third, 2, becomes_anchor=True)
    assert _anchor(sessions) == third
    # rolled back, and still what the next is held against
    _promote(sessions, second, 3, ChangeKind.ROLLED_BACK)
    assert _anchor(sessions) == third
    _promote(sessions, fourth, 4)
    assert _anchor(sessions) == third


def test_a_rollback_makes_the_champion_the_anchor_where_none_was_named(
    sessions: Sessions, installed: list[int]
) -> None:
    _promote(sessions, installed[1], 1, ChangeKind.ROLLED_BACK)
    assert _anchor(sessions) == installed[0]


def test_another_anchor_moves_the_token_and_not_the_champion(sessions: Sessions, installed: list[int]) -> None:
    before = _reign(sessions)
    with sessions.begin() as session:
        assert name_anchor(session, installed[2], 1, actor="somebody", reason="it was better") == 2
    after = _reign(sessions)
    assert (after.model.id, after.since, after.anchor_id) == (before.model.id, before.since, installed[2])
    with sessions() as session:
        change = history(session)[0]
    assert (change.kind, change.old_model_version_id, change.new_model_version_id, change.anchor_id) == (
        ChangeKind.ANCHORED,
        installed[0],
        installed[0],
        installed[2],
    )
    # whoever decided against the old anchor is too late
    with pytest.raises(ChampionMoved):
        _promote(sessions, installed[1], 1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("I0", None),
        ("I0 P1", 0),
        ("I0 P1 A2", 0),
        ("I0 P1 P2 R1", 0),
        ("I0 P1 P2 R1 R0", None),
        ("I0 P1 P2 R0 P3", 0),
        # undone, and promoted again
        ("I0 P1 R0 P1 P2", 1),
        # gone back, by name, to one that was undone
        ("I0 P1 R0 R1", 0),
    ],
)
def test_a_rollback_goes_back_step_by_step(steps: str, expected: int | None) -> None:
    kinds = {"I": ChangeKind.INSTALLED, "P": ChangeKind.PROMOTED, "R": ChangeKind.ROLLED_BACK, "A": ChangeKind.ANCHORED}
    changes = [
        ChampionChange(kind=kinds[step[0]], new_model_version_id=int(step[1]), fencing_token=number)
        for number, step in enumerate(steps.split())
    ]
    assert one_before(reversed(changes)) == expected


def test_changes_of_the_champion_are_never_changed(sessions: Sessions, installed: list[int]) -> None:
    assert installed
    with pytest.raises(DatabaseError, match="append-only"), sessions.begin() as session:
        session.execute(text("UPDATE champion_change SET reason = 'another'"))
    with pytest.raises(DatabaseError, match="append-only"), sessions.begin() as session:
        session.execute(delete(ChampionChange))
