"""A challenger in the shadow: scored from masters with its real bundle, kept where nobody looks, held to its days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

from bundle.errors import BundleRefused
from core.errors import TransientFailure
from core.settings import Settings
from db import views
from db.models.model import ModelVersion
from db.models.rescoring import ShadowPrediction
from db.models.study import Image
from db.registry import install_champion_if_none
from db.shadow import Said, note
from db.vocabulary import FlagKind, Outcome
from imaging.master import master_path, save_master
from tests.factories.bundles import chest, make_bundle, make_key, starter, write_public
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    ModelVersionFactory,
    PredictionFactory,
    StudyFactory,
    ago,
    rows_in,
)
from tests.integration.rescoring_kit import everything_shown
from training.nightly import shadow
from training.nightly.shadow import score_live, standing

Sessions = sessionmaker[Session]
# where the other database would add nothing
sqlite = pytest.mark.parametrize("ledger_settings", ["sqlite"], indirect=True)
DAY = 86_400
ROOT = Path(__file__).resolve().parents[2]
# at this operating point everything is SUSPECTED
EVERYTHING = {
    "operating_point": starter().manifest.operating_point.model_copy(update={"threshold": 1e-9}).model_dump(),
    "uncertainty": {**starter().manifest.uncertainty.model_dump(), "low": 0.0, "high": 1e-8},
}


@pytest.fixture
def site(ledger_settings: Settings, tmp_path: Path) -> Settings:
    """Settings under which the test's own bundles are trusted."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "test.pem")
    return ledger_settings.model_copy(update={"trusted_keys_dir": keys, "shadow_days": 3.0, "shadow_images": 4})


def challenger(site: Settings, sessions: Sessions, **overrides: Any) -> int:
    """A registered bundle; by default one that suspects everything."""
    digest = make_bundle(site.bundles / "challenger", **(overrides or EVERYTHING))
    with sessions.begin() as session, rows_in(session):
        return ModelVersionFactory(name="test", version="1", bundle_digest=digest, location="challenger").id


def champion(sessions: Sessions) -> int:
    with sessions.begin() as session, rows_in(session):
        model = ModelVersionFactory().id
        install_champion_if_none(session, model)
        return model


def live(
    settings: Settings, sessions: Sessions, model: int, *, days: float = 1, seed: int = 0, **values: object
) -> int:
    """An image received so many days ago that the champion judged NOT_SUSPECTED; return its id."""
    master = save_master(settings.masters, chest(np.random.default_rng(seed)))
    said = values.get("outcome", Outcome.NOT_SUSPECTED)
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(
            first_received_at=ago(days * DAY), settled_at=ago(days * DAY - 60), outcome=Outcome.NOT_SUSPECTED
        )
        image = ImageFactory(study=study, **{"master_digest": master, "input_digest": master, **values})
        PredictionFactory(image=image, model_version=session.get_one(ModelVersion, model), outcome=said)
        return image.id


def said(sessions: Sessions) -> list[tuple[int, Outcome]]:
    with sessions() as session:
        rows = session.scalars(select(ShadowPrediction).order_by(ShadowPrediction.image_id))
        return [(row.image_id, row.outcome) for row in rows]


def test_live_images_are_scored_from_their_masters_and_nothing_that_is_shown_changes(
    site: Settings, engine: Engine, sessions: Sessions
) -> None:
    model = champion(sessions)
    new = [live(site, sessions, model, seed=seed) for seed in range(3)]
    live(site, sessions, model, days=9)
    live(site, sessions, model, outcome=Outcome.OUT_OF_SCOPE)
    live(site, sessions, model, outcome=Outcome.NO_RESULT, master_digest=None, input_digest=None)
    with sessions.begin() as session, rows_in(session):
        FlagFactory(study=StudyFactory(), kind=FlagKind.NO_RESULT)
    before = everything_shown(engine)
    told: list[int] = []
    unseen = challenger(site, sessions)
    run = score_live(site, sessions, unseen, ago(5 * DAY), told.append)
    assert (run.scored, run.without_master, sum(told)) == (3, 0, 3)
    # it suspects everything, and nobody is told
    assert said(sessions) == [(number, Outcome.SUSPECTED) for number in new]
    assert everything_shown(engine) == before
    assert not any("shadow_prediction" in statement for name in views.DIALECTS for statement in views.statements(name))


def test_only_the_shadow_itself_reads_what_it_said() -> None:
    naming = {
        str(path.relative_to(ROOT))
        for folder in ("bundle", "cli", "core", "db", "dicom_listener", "imaging", "training", "worker")
        for path in (ROOT / folder).rglob("*.py")
        if any(word in path.read_text() for word in ("ShadowPrediction", "shadow_prediction"))
    }
    assert naming == {
        "db/migrations/versions/v0007_nightly.py",
        "db/models/all.py",
        "db/models/rescoring.py",
        "db/shadow.py",
    }


@sqlite
def test_scoring_goes_on_where_it_was_ended_and_does_nothing_twice(
    site: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_BATCH", 2)
    model = champion(sessions)
    images = [live(site, sessions, model, seed=seed) for seed in range(3)]
    unseen = challenger(site, sessions)

    class Ended(Exception):
        pass

    def end(_: int) -> None:
        raise Ended

    with pytest.raises(Ended):
        score_live(site, sessions, unseen, ago(5 * DAY), end)
    assert [number for number, _ in said(sessions)] == images[:2]
    assert score_live(site, sessions, unseen, ago(5 * DAY)).scored == 1
    assert score_live(site, sessions, unseen, ago(5 * DAY)).scored == 0
    assert [number for number, _ in said(sessions)] == images


def test_pages_of_studies_are_gone_through_to_the_end(
    site: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.shadow._STUDIES", 2)
    model = champion(sessions)
    images = [live(site, sessions, model, seed=seed, days=1 + seed / 10) for seed in range(5)]
    assert score_live(site, sessions, challenger(site, sessions), ago(5 * DAY)).scored == 5
    assert [number for number, _ in said(sessions)] == images


@sqlite
def test_an_image_whose_master_is_gone_counts_in_nothing_and_is_told(site: Settings, sessions: Sessions) -> None:
    model = champion(sessions)
    here, gone = live(site, sessions, model, seed=1), live(site, sessions, model, seed=2)
    with sessions() as session:
        digest = session.get_one(Image, gone).master_digest
    assert digest is not None
    master_path(site.masters, digest).unlink()
    run = score_live(site, sessions, challenger(site, sessions), ago(5 * DAY))
    assert (run.scored, run.without_master) == (1, 1)
    assert [number for number, _ in said(sessions)] == [here]


@sqlite
def test_a_host_without_masters_scores_nothing_and_says_so(site: Settings, sessions: Sessions) -> None:
    live(site, sessions, champion(sessions))
    site.masters.rename(site.masters.with_name("elsewhere"))
    with pytest.raises(TransientFailure, match="mount it"):
        score_live(site, sessions, challenger(site, sessions), ago(5 * DAY))
    assert said(sessions) == []


@sqlite
def test_a_bundle_that_was_tampered_with_scores_nothing(site: Settings, sessions: Sessions) -> None:
    live(site, sessions, champion(sessions))
    unseen = challenger(site, sessions)
    weights = site.bundles / "challenger" / "model.tflite"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleRefused):
        score_live(site, sessions, unseen, ago(5 * DAY))
    assert said(sessions) == []


@sqlite
def test_scores_that_are_no_numbers_are_no_result(
    site: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(site, sessions, champion(sessions))
    unseen = challenger(site, sessions)
    load = shadow.load_for

    def broken(*arguments: Any) -> Any:
        model = load(*arguments)

        def predict(inputs: Any) -> Any:
            return np.full(len(inputs), np.nan, np.float32)

        monkeypatch.setattr(model.runtime, "predict", predict)
        return model

    monkeypatch.setattr(shadow, "load_for", broken)
    score_live(site, sessions, unseen, ago(5 * DAY))
    with sessions() as session:
        (row,) = session.scalars(select(ShadowPrediction))
    assert (row.outcome, row.score) == (Outcome.NO_RESULT, None)


def test_what_was_said_in_the_shadow_is_never_changed(site: Settings, sessions: Sessions) -> None:
    live(site, sessions, champion(sessions))
    score_live(site, sessions, challenger(site, sessions), ago(5 * DAY))
    with pytest.raises(DatabaseError, match="append-only"), sessions.begin() as session:
        session.execute(text("UPDATE shadow_prediction SET outcome = 'NOT_SUSPECTED'"))


def test_images_that_the_champion_did_not_score_or_that_changed_since_are_not_compared(
    site: Settings, sessions: Sessions
) -> None:
    model = champion(sessions)
    with sessions.begin() as session, rows_in(session):
        former, unseen = ModelVersionFactory().id, ModelVersionFactory().id
    ours, theirs, revised = (live(site, sessions, by) for by in (model, former, model))
    with sessions.begin() as session:
        note(session, unseen, [Said(number, 1, Outcome.SUSPECTED, 0.9) for number in (ours, theirs, revised)])
        session.get_one(Image, revised).revision = 2
    with sessions() as session:
        found = standing(session, site, unseen, model, since=ago(5 * DAY), now=ago(0))
    assert (found.tally.images, found.tally.compared, found.tally.suspected) == (2, 1, 1)
    assert (found.suspected, found.champion_suspected) == (1.0, 0.0)
