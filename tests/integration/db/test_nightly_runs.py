"""A night is held by one at a time, and lost with its lease (fault row 32; promise 11)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from db import nightly_runs as runs
from db.base import database_now
from db.models.learning import NightlyRun
from db.models.model import Champion
from db.nightly_runs import Held, NightLost
from db.registry import ChampionMoved, champion, install_champion_if_none, promote
from db.vocabulary import ChangeKind, NightState, NightStep
from tests.factories.rows import ModelVersionFactory, rows_in

NIGHT = date(2027, 3, 1)


def claim(sessions: sessionmaker[Session], lease_seconds: float = 60.0, night: date = NIGHT) -> Held | None:
    with sessions.begin() as session:
        return runs.claim(session, night, lease_seconds)


def let_lapse(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.execute(update(NightlyRun).values(lease_until=database_now(-1)))


def test_row_32_of_many_who_ask_at_once_one_gets_the_night(sessions: sessionmaker[Session]) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [held for held in pool.map(lambda _: claim(sessions), range(8)) if held is not None]
    assert len(found) == 1
    with sessions.begin() as session:
        assert session.scalar(select(func.count()).select_from(NightlyRun)) == 1
        assert runs.is_over(session, NIGHT)


def test_row_32_a_dead_holder_is_followed_and_cannot_write_any_more(sessions: sessionmaker[Session]) -> None:
    first = claim(sessions)
    assert first is not None
    assert claim(sessions) is None
    let_lapse(sessions)
    with sessions.begin() as session:
        assert not runs.is_over(session, NIGHT)
    second = claim(sessions)
    assert second is not None
    assert (second.run_id, second.attempt) == (first.run_id, 2)
    for write in (
        lambda session: runs.renew(session, first, 60),
        lambda session: runs.note(session, first, step=NightStep.PROMOTE),
        lambda session: runs.finish(session, first, NightState.KEPT, "late"),
        lambda session: runs.give_back(session, first, counted=True),
    ):
        with pytest.raises(NightLost), sessions.begin() as session:
            write(session)
    with sessions.begin() as session:
        runs.note(session, second, step=NightStep.TRAIN)
    with sessions.begin() as session:
        row = runs.get(session, second.run_id)
        assert (row.step, row.state) == (NightStep.TRAIN, NightState.RUNNING)


def test_a_holder_past_its_lease_decides_nothing_but_may_take_it_up_again_where_nobody_followed(
    sessions: sessionmaker[Session],
) -> None:
    held = claim(sessions)
    assert held is not None
    let_lapse(sessions)
    with pytest.raises(NightLost), sessions.begin() as session:
        runs.note(session, held, step=NightStep.PROMOTE)
    with sessions.begin() as session:
        runs.renew(session, held, 60)
    with sessions.begin() as session:
        runs.note(session, held, step=NightStep.PROMOTE)


def test_what_nobody_is_at_any_more_is_ended_by_the_next_night(sessions: sessionmaker[Session]) -> None:
    fitting, other = claim(sessions), claim(sessions, night=NIGHT + timedelta(days=1))
    swapped = claim(sessions, night=NIGHT - timedelta(days=1))
    assert fitting is not None
    assert other is not None
    assert swapped is not None
    with sessions.begin() as session, rows_in(session):
        runs.note(session, fitting, work="2027-03-01")
        old, new = ModelVersionFactory(), ModelVersionFactory()
        install_champion_if_none(session, old.id)
        promote(
            session,
            new.id,
            1,
            kind=ChangeKind.PROMOTED,
            actor="nightly",
            reason="better",
            nightly_run_id=swapped.run_id,
        )
    with sessions.begin() as session:
        # somebody is at them
        assert runs.end_abandoned(session, NIGHT + timedelta(days=2)) == 0
    let_lapse(sessions)
    with sessions.begin() as session:
        assert runs.end_abandoned(session, NIGHT - timedelta(days=1)) == 0
        assert runs.end_abandoned(session, NIGHT + timedelta(days=2)) == 3
    with sessions.begin() as session:
        states = [row.state for row in runs.newest(session, 5)]
    assert states == [NightState.FAILED, NightState.CONTINUES, NightState.PROMOTED]


def test_a_failed_night_is_claimed_again_only_where_somebody_asks_for_it(sessions: sessionmaker[Session]) -> None:
    held = claim(sessions)
    assert held is not None
    with sessions.begin() as session:
        runs.finish(session, held, NightState.FAILED, "no disk")
    assert claim(sessions) is None
    with sessions.begin() as session:
        again = runs.claim(session, NIGHT, 60, again=True)
        assert again is not None
        assert again.attempt == 1
    with sessions.begin() as session:
        assert runs.claim(session, NIGHT, 60, again=True) is None
        runs.finish(session, again, NightState.KEPT, "not better")
    with sessions.begin() as session:
        assert runs.claim(session, NIGHT, 60, again=True) is None


def test_row_32_a_stale_holder_cannot_promote(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        old, new = ModelVersionFactory(), ModelVersionFactory()
        install_champion_if_none(session, old.id)
        old_id, new_id = old.id, new.id
    held = claim(sessions)
    assert held is not None
    let_lapse(sessions)
    follower = claim(sessions)
    assert follower is not None

    def swap(holder: Held) -> None:
        with sessions.begin() as session:
            promote(session, new_id, 1, kind=ChangeKind.PROMOTED, actor="nightly", reason="better")
            runs.note(session, holder, step=NightStep.PROMOTE)

    with pytest.raises(NightLost):
        swap(held)
    with sessions.begin() as session:
        reign = champion(session)
        assert reign is not None
        assert (reign.model.id, reign.fencing_token) == (old_id, 1)
    swap(follower)
    with pytest.raises(ChampionMoved):
        swap(follower)
    with sessions.begin() as session:
        assert session.scalar(select(Champion.model_version_id)) == new_id


def test_an_ended_night_is_never_held_again(sessions: sessionmaker[Session]) -> None:
    held = claim(sessions)
    assert held is not None
    with sessions.begin() as session:
        runs.finish(session, held, NightState.KEPT, "x" * 5000)
    let_lapse(sessions)
    assert claim(sessions) is None
    with sessions.begin() as session:
        row = runs.of_night(session, NIGHT)
        assert row is not None
        assert (row.state, len(row.reason or "")) == (NightState.KEPT, 2000)
        assert row.finished_at is not None


def test_one_that_is_told_to_stop_gives_the_night_back_and_its_start_does_not_count(
    sessions: sessionmaker[Session],
) -> None:
    held = claim(sessions)
    assert held is not None
    with sessions.begin() as session:
        runs.give_back(session, held, counted=False)
    again = claim(sessions)
    assert again is not None
    assert again.attempt == 1


def test_what_went_before_is_found_by_how_it_ended(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        model = ModelVersionFactory().id
    states = [
        NightState.KEPT,
        NightState.SHADOWED,
        NightState.EVALUATED,
        NightState.CONTINUES,
    ]
    for day, state in enumerate(states):
        held = claim(sessions, night=NIGHT + timedelta(days=day))
        assert held is not None
        with sessions.begin() as session:
            if state in {NightState.KEPT, NightState.SHADOWED}:
                verdict = "PROMOTE" if state is NightState.SHADOWED else "KEEP"
                runs.note(session, held, challenger_id=model, decision={"verdict": verdict})
            runs.finish(session, held, state, "")
    after = NIGHT + timedelta(days=4)
    with sessions.begin() as session:
        assert [row.state for row in runs.newest(session, 2)] == [NightState.CONTINUES, NightState.EVALUATED]
        trained, decided = runs.last_learnt(session, after), runs.last_decided(session, NIGHT + timedelta(days=1))
        assert trained is not None
        assert decided is not None
        assert (trained.state, decided.state) == (NightState.SHADOWED, NightState.KEPT)
        assert runs.in_shadow(session, after) is not None
        assert runs.in_shadow(session, NIGHT + timedelta(days=1)) is None
        unfinished = runs.unfinished_fit(session, after, NIGHT)
        assert unfinished is not None
        assert unfinished.state is NightState.CONTINUES
        # one of last week learnt from old labels, and one that another night followed is nobody's any more
        assert runs.unfinished_fit(session, after, after) is None
        assert runs.unfinished_fit(session, NIGHT + timedelta(days=3), NIGHT) is None
