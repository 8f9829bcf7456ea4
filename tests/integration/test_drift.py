"""Looks for drift at ledgers of each kind, filled with months of service."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db import drift as ledger
from db.base import make_readers, make_sessions
from db.models.prediction import Prediction
from db.registry import install_champion_if_none
from imaging.master import FULL_SCALE, master_path, save_master
from tests.factories.rows import ModelVersionFactory, promoted, rows_in
from tests.factories.service import Service, serve
from training.nightly.drift.look import look
from training.nightly.drift.reference import BadReference, ensure_reference, replace_reference
from training.nightly.drift.result import OF_MODEL, Drift, Level, Measure, Name

FIRST = date(2026, 1, 1)
REFERENCE, RECENT = 56, 28
BETWEEN = FIRST + timedelta(days=REFERENCE)
TODAY = BETWEEN + timedelta(days=RECENT)
SITE = Service(a_day=12)


class Site:
    """A hospital whose ledger holds a reference and the four weeks after it."""

    def __init__(self, settings: Settings, engine: Engine, sessions: sessionmaker[Session]) -> None:
        self.settings, self.sessions, self.readers = settings, sessions, make_readers(engine)
        with sessions.begin() as session, rows_in(session):
            self.model, self.other = ModelVersionFactory().id, ModelVersionFactory().id
            install_champion_if_none(session, self.model)

    def serve(self, now: Service = SITE, before: Service = SITE) -> None:
        """Let the weeks pass."""
        with self.sessions.begin() as session:
            serve(session, FIRST, REFERENCE, self.model, before)
        assert ensure_reference(self.settings, self.sessions, BETWEEN)
        with self.sessions.begin() as session:
            serve(session, BETWEEN, RECENT, self.model, now)

    def look(self, **changes: object) -> Drift:
        """Look at the end of them."""
        return look(self.settings.model_copy(update=changes), self.readers, TODAY)


@pytest.fixture
def site(ledger_settings: Settings, engine: Engine, sessions: sessionmaker[Session]) -> Site:
    return Site(ledger_settings, engine, sessions)


def measures(found: Drift) -> dict[Name, Measure]:
    return {one.name: one for one in found.measures}


def test_months_alike_show_no_drift(site: Site) -> None:
    site.serve()
    found = site.look()
    assert (found.level, found.blocks, found.of(Level.NOTICE)) == (Level.NONE, False, ())
    assert found.reference is not None
    assert found.recent is not None
    assert (found.reference.first, found.reference.last) == (FIRST, BETWEEN - timedelta(days=1))
    assert (found.recent.first, found.recent.last) == (BETWEEN, TODAY - timedelta(days=1))
    assert (found.reference.studies, found.recent.studies, found.recent.looked_at) == (672, 336, 336)
    assert found.model is not None
    assert {one.name for one in found.of(Level.NONE)} >= {Name.SCORE, Name.SCOPE, Name.DEVICE, Name.CLEARED}
    # the same ledger and day give the same look
    assert site.look() == found
    assert Drift.from_json(found.to_json()) == found


def test_each_change_of_what_arrives_is_told_and_strong_drift_blocks(site: Site) -> None:
    site.serve(replace(SITE, shift=1.2, devices={"Bolt": 1.0}, peers={"ER": 1.0}, out_of_scope=0.8, agree=0.3))
    found = site.look()
    assert (found.level, found.blocks) == (Level.STRONG, True)
    strong = {one.name for one in found.of(Level.STRONG)}
    assert strong >= {Name.SCORE, Name.SCORE_DISTANCE, Name.FLAGGED, Name.DEVICE, Name.CALLING_AE, Name.SCOPE}
    assert {Name.SEX, Name.AGE, Name.VIEW}.isdisjoint(strong)
    assert "Nothing is promoted" in found.words
    assert "most changed is Bolt, 100.0%" in found.words
    mild = site.look(drift_blocks=False)
    assert (mild.level, mild.blocks) == (Level.STRONG, False)


def test_readers_who_agree_less_are_told(site: Site) -> None:
    site.serve(replace(SITE, agree=0.4, read=1.0))
    found = measures(site.look())
    assert found[Name.CLEARED].level is Level.STRONG
    assert found[Name.SCORE].level is Level.NONE


def test_answers_of_another_model_are_not_compared(site: Site) -> None:
    site.serve()
    with site.sessions.begin() as session:
        promoted(session, site.other, 1)
        # the new champion looked again at some of the last weeks: those nobody had read
        again = session.scalars(select(Prediction).where(Prediction.id % 3 == 0)).all()
        for one in again:
            values = {column.key: getattr(one, column.key) for column in Prediction.__table__.columns}
            del values["id"]
            session.add(Prediction(**values | {"model_version_id": site.other, "score": 0.99}))
    found = site.look()
    of_model = [one for one in found.measures if one.name in OF_MODEL]
    assert {one.level for one in of_model} == {Level.UNTOLD}
    assert all("the model in service" in one.words for one in of_model)
    assert found.level is Level.NONE
    assert measures(found)[Name.DEVICE].level is Level.NONE


def test_grey_levels_of_masters_are_compared_and_those_that_are_gone_are_not(
    sqlite_settings: Settings, sqlite_engine: Engine
) -> None:
    site = Site(sqlite_settings, sqlite_engine, make_sessions(sqlite_engine))
    rng = np.random.default_rng(0)

    def pictures(count: int, bright: float) -> tuple[str, ...]:
        made = (np.clip(rng.normal(bright, 0.1, (8, 8)) + rng.normal(0, 0.05), 0, 1) for _ in range(count))
        return tuple(save_master(site.settings.masters, (one * FULL_SCALE).astype(np.uint16)) for one in made)

    def look() -> dict[Name, Measure]:
        # so few tell whether there is strong drift if only more counts as strong
        return measures(site.look(drift_masters=80, drift_psi_strong=0.6))

    before, now = pictures(90, 0.4), pictures(80, 0.6)
    site.serve(replace(SITE, masters=now), replace(SITE, masters=before))
    found = look()
    assert found[Name.BRIGHTNESS].level is Level.STRONG
    assert found[Name.CONTRAST].level is Level.NONE
    assert (found[Name.BRIGHTNESS].reference_count, found[Name.BRIGHTNESS].recent_count) == (80, 80)
    # of those measured some are gone: others are taken
    for digest in sorted(before)[:10]:
        master_path(site.settings.masters, digest).unlink()
    assert look()[Name.BRIGHTNESS].reference_count == 80
    for digest in before:
        master_path(site.settings.masters, digest).unlink(missing_ok=True)
    found = look()
    assert (found[Name.BRIGHTNESS].level, found[Name.BRIGHTNESS].value) == (Level.UNTOLD, None)
    assert found[Name.SCORE].level is Level.NONE


def test_a_reference_is_set_once_and_only_when_there_is_enough(site: Site) -> None:
    def set_at(today: date) -> bool:
        return ensure_reference(site.settings, site.sessions, today)

    assert not set_at(TODAY)
    assert site.look().level is Level.UNTOLD
    assert "56 days" in site.look().words
    with site.sessions.begin() as session:
        serve(session, FIRST, REFERENCE, site.model, Service(a_day=3))
        serve(session, BETWEEN, 60, site.model, Service(a_day=4))
    # a day too early, and at the first possible day too few studies: 168
    assert not set_at(BETWEEN - timedelta(days=1))
    assert not set_at(BETWEEN)
    assert set_at(TODAY + timedelta(days=10))
    assert not set_at(TODAY + timedelta(days=20))
    with site.sessions() as session:
        found = ledger.reference(session)
    assert found is not None
    assert (found.first, found.last) == (TODAY - timedelta(days=46), TODAY + timedelta(days=9))
    assert found.actor == "lungwatch"
    # nothing after it is over yet
    assert look(site.settings, site.readers, TODAY + timedelta(days=10)).level is Level.UNTOLD
    after = look(site.settings, site.readers, TODAY + timedelta(days=15))
    assert after.recent is not None
    assert after.recent.first == TODAY + timedelta(days=10)


def test_a_person_sets_another_and_slow_drift_shows_against_the_old_one(site: Site) -> None:
    site.serve(replace(SITE, shift=1.0))
    assert measures(site.look())[Name.SCORE].level is Level.STRONG
    with site.sessions.begin() as session:
        serve(session, TODAY, 28, site.model, replace(SITE, shift=1.0))
        days = BETWEEN, TODAY - timedelta(days=1)
        assert replace_reference(session, *days, TODAY, actor="me", reason="a new device that is wanted") == 336
    later = look(site.settings, site.readers, TODAY + timedelta(days=28))
    assert measures(later)[Name.SCORE].level is Level.NONE
    assert later.level is Level.NONE


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (BETWEEN, FIRST, "ends no earlier"),
        (FIRST, TODAY, "before today"),
        (date(2020, 1, 1), date(2020, 3, 1), "0 studies"),
    ],
)
def test_days_that_are_no_reference_are_refused(site: Site, first: date, last: date, words: str) -> None:
    with site.sessions() as session, pytest.raises(BadReference, match=words):
        replace_reference(session, first, last, TODAY, actor="me", reason="because")
    with site.sessions() as session:
        assert ledger.reference(session) is None
