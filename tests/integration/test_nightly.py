"""What a night does and leaves: promoted, kept, only examined, continued, stopped, refused (fault row 33)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from core.errors import TransientFailure
from core.settings import Settings
from db import nightly_runs as runs
from db.base import make_engine, make_readers, make_sessions
from db.migrate import upgrade
from db.models.learning import Evaluation, NightlyRun
from db.registry import champion
from db.vocabulary import ExaminedOn, NightKind, NightState, Use
from imaging.master import master_path
from tests.integration.night_kit import FIRST, LENIENT, USE, NightClock, NightSite, begun, copied, freeze, prepare
from training.fitting.run import recorded
from training.nightly import run as nights
from training.nightly.drift.result import Drift, Level
from training.nightly.drift.rules import rules_of
from training.nightly.examining import Asked
from training.nightly.report.night import Role

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("few_resamples"),
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

Make = Callable[..., NightSite]


@pytest.fixture
def make_site(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Make]:
    """A site with champion, frozen test set, enough to learn from, and the first night's challenger fitted already."""
    with ExitStack() as stack:

        def make(**changes: Any) -> NightSite:
            site = stack.enter_context(copied(begun(tmp_path_factory), tmp_path, **changes))
            with site.sessions.begin() as session:
                # that night is as if it had never been; most tests need not fit again
                session.execute(delete(NightlyRun))
            return site

        yield make


def night_of(site: NightSite, number: int = 0) -> NightlyRun:
    with site.readers() as session:
        row = runs.of_night(session, FIRST + timedelta(days=number))
    assert row is not None
    return row


def serves(site: NightSite) -> str:
    with site.readers() as session:
        reign = champion(session)
    assert reign is not None
    return reign.model.name


def folder_of(site: NightSite, number: int = 0) -> Path:
    return site.settings.data_dir / (night_of(site, number).report or "")


def report(site: NightSite, number: int = 0) -> dict[str, Any]:
    folder = folder_of(site, number)
    assert "</html>" in (folder / "report.html").read_text()
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_better_data_lead_to_a_promotion_and_everything_is_on_record(make_site: Make) -> None:
    site = make_site()
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.PROMOTED, ending.reason
    assert serves(site) == "nightly"
    row = night_of(site)
    assert (row.kind, row.new_labels, row.attempts) == (NightKind.FINE_TUNE, 460, 1)
    assert list(row.seconds) == ["SNAPSHOT", "TRAIN", "EXAMINE", "DRIFT", "DECIDE", "PROMOTE", "REPORT"]
    with site.readers() as session:
        found = session.execute(select(Evaluation.examined_on, Evaluation.model_version_id)).all()
        model = champion(session)
    assert model is not None
    assert model.model.manifest["parent"] is not None
    assert model.model.manifest["intended_use"]["age_days"] == list(USE.age_days)
    assert [one[0] for one in found] == [ExaminedOn.TEST] * 2
    answers = np.load(folder_of(site) / "answers-test.npz")
    assert len(answers["labels"]) == len(answers["challenger_scores"]) == len(answers["champion_scores"])
    assert report(site)["decision"]["verdict"] == "PROMOTE"
    # again: it has ended
    assert site.run(0) is None
    # and what it learnt from is not new on the next night
    after = site.run(1)
    assert after is not None
    assert (after.state, night_of(site, 1).new_labels) == (NightState.EVALUATED, 0)


def test_row_33_answers_that_are_no_numbers_are_refused(make_site: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site()
    asked_all = nights.ask_all

    def broken(*arguments: Any) -> dict[Role, Asked]:
        found = asked_all(*arguments)
        one = found[Role.CHALLENGER]
        if len(one.answers.scores):
            scores = one.answers.scores.copy()
            scores[3] = np.nan
            found[Role.CHALLENGER] = Asked(replace(one.answers, scores=scores), None)
        return found

    monkeypatch.setattr(nights, "ask_all", broken)
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.KEPT
    assert ending.reason.startswith("REFUSED")
    assert "no number" in ending.reason
    assert serves(site) == "first"
    assert report(site)["decision"]["verdict"] == "REFUSED"


def test_row_33_a_test_set_that_an_ancestor_was_fitted_on_is_refused(make_site: Make) -> None:
    site = make_site()
    # a data set that came later says of patients of the test set what they were fitted on as: the first champion was
    with site.sessions.begin() as session:
        session.connection().exec_driver_sql("DROP TRIGGER patient_side_no_update")
        session.connection().exec_driver_sql("DROP TRIGGER test_set_image_no_update")
        session.connection().exec_driver_sql(
            "UPDATE test_set_image SET labelled_image_id = 250 WHERE id = (SELECT min(id) FROM test_set_image "
            "WHERE share = 'TEST')"
        )
        session.connection().exec_driver_sql(
            "UPDATE test_set_image SET label_id = (SELECT max(id) FROM label WHERE labelled_image_id = 250) "
            "WHERE labelled_image_id = 250"
        )
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.KEPT, ending
    assert "was fitted on 1 of the" in ending.reason
    assert serves(site) == "first"


def test_row_33_without_a_frozen_test_set_nothing_is_trained(make_site: Make) -> None:
    site = make_site()
    with site.sessions.begin() as session:
        for table in ("snapshot", "test_set_image", "test_set"):
            session.connection().exec_driver_sql(f"DROP TRIGGER {table}_no_delete")
            session.connection().exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
    ending = site.run(0)
    assert ending is not None
    assert (ending.state, night_of(site).kind) == (NightState.EVALUATED, NightKind.EVALUATE)
    assert "lungwatch testset freeze" in ending.reason
    assert report(site)["state"] == "EVALUATED"


def test_too_few_new_labels_only_examine(make_site: Make) -> None:
    site = make_site(nightly_minimum_labels=461)
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.EVALUATED
    assert "460 new labels" in ending.reason
    assert serves(site) == "first"


def test_strong_drift_blocks_a_promotion(make_site: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site()
    strong = Drift(
        today=FIRST, level=Level.STRONG, blocks=True, words="a device was replaced", rules=rules_of(site.settings)
    )
    monkeypatch.setattr(nights, "look", lambda *_: strong)
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.KEPT
    assert "drift is strong: a device was replaced" in ending.reason
    assert serves(site) == "first"
    assert night_of(site).decision is not None


@dataclass
class UntilAnEpoch(NightClock):
    """Time that stands still until a fit's first epoch is kept, and then is over."""

    kept: Path = Path()

    def monotonic(self) -> float:
        return 1e6 if recorded(self.kept) else 0.0


def test_a_fit_that_takes_longer_than_the_night_goes_on_the_next_one(make_site: Make) -> None:
    site = make_site()
    night = FIRST + timedelta(days=1)
    left = site.settings.bundles / f"nightly-{night}.partial"
    ending = site.run(1, clock=UntilAnEpoch(datetime(2027, 3, 2, 2, tzinfo=UTC), kept=left))
    assert ending is not None
    assert ending.state is NightState.CONTINUES, ending
    assert "goes on the next night" in ending.reason
    assert serves(site) == "first"
    assert [epoch["number"] for epoch in report(site, 1)["epochs"]] == [1]
    # what was labelled since is for the challenger after it
    site.arrive(5, 5, Use.FIT)
    after = site.run(2)
    assert after is not None
    assert after.state is NightState.PROMOTED, after.reason
    assert "goes on" in (night_of(site, 2).plan or "")
    assert night_of(site, 2).snapshot_id == night_of(site, 1).snapshot_id
    assert f"fit began in the night of {night}" in (folder_of(site, 2) / "report.txt").read_text().replace("\n", " ")
    assert [epoch["number"] for epoch in report(site, 2)["epochs"]] == [1, 2, 3]
    assert not list(site.settings.bundles.glob("nightly-*.partial"))


def test_one_that_is_told_to_stop_stops_and_goes_on_when_started_again(make_site: Make) -> None:
    site = make_site()
    ending = site.run(0, stopping=lambda: True)
    assert ending is not None
    assert ending.state is NightState.RUNNING
    assert "goes on from here" in ending.reason
    assert night_of(site).attempts == 0
    again = site.run(0)
    assert again is not None
    assert again.state is NightState.PROMOTED, again.reason
    assert night_of(site).attempts == 1


def test_a_challenger_stays_in_the_shadow_until_its_days_are_over(make_site: Make) -> None:
    site = make_site(shadow_days=2.0, shadow_images=1)
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.SHADOWED
    assert serves(site) == "first"
    # there would be something to learn from
    site.arrive(15, 15, Use.FIT)
    waiting = site.run(1)
    assert waiting is not None
    assert (waiting.state, night_of(site, 1).kind) == (NightState.EVALUATED, NightKind.EVALUATE)
    assert "in the shadow" in waiting.reason


def test_a_shadow_ends_when_a_person_changes_the_champion(make_site: Make) -> None:
    site = make_site(shadow_days=2.0)
    assert (ending := site.run(0)) is not None
    assert ending.state is NightState.SHADOWED
    with site.sessions.begin() as session:
        session.connection().exec_driver_sql("UPDATE champion SET fencing_token = fencing_token + 1")
    dropped = site.run(1)
    assert dropped is not None
    assert dropped.state is NightState.KEPT
    assert "changed by hand" in dropped.reason
    # and the next may train again, but has too little for it
    after = site.run(2)
    assert after is not None
    assert "0 new labels" in after.reason


def test_a_report_that_cannot_be_written_ends_the_night_no_other_way(make_site: Make) -> None:
    site = make_site(nightly_minimum_labels=500)
    (site.tonight(FIRST).folder / "1" / "report.json").mkdir(parents=True)
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.EVALUATED
    assert "report could not be written" in ending.reason
    assert night_of(site).report is None


def test_without_a_champion_a_night_says_what_to_start(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(signing_key_file=tmp_path / "key.pem", **LENIENT)
    prepare(settings)
    engine = make_engine(settings)
    upgrade(engine)
    site = NightSite(settings, make_sessions(engine), make_readers(engine))
    site.arrive(3, 3, Use.TEST)
    freeze(site)
    ending = site.run(0)
    engine.dispose()
    assert ending is not None
    assert ending.state is NightState.FAILED
    assert "start a worker first" in ending.reason


def test_a_failed_night_is_run_again_by_hand_and_by_nobody_else(make_site: Make) -> None:
    site = make_site()
    gone = site.settings.masters.rename(site.settings.masters.with_name("elsewhere"))
    for start in (1, 2):
        with pytest.raises(TransientFailure, match="mount the data directory"):
            site.run(0)
        assert night_of(site).attempts == start
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.FAILED
    assert "started 3 times; at last" in ending.reason
    assert "mount the data directory" in ending.reason
    gone.rename(site.settings.masters)
    assert site.run(0) is None
    again = nights.run(site.tonight(FIRST), again=True)
    assert again is not None
    assert again.state is NightState.PROMOTED, again.reason
    assert (night_of(site).attempts, night_of(site).finished_at is not None) == (1, True)


def test_an_error_that_nobody_foresaw_is_on_record_in_the_end(make_site: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(nightly_minimum_labels=500, nightly_attempts=2)

    def broken(*_: Any) -> Drift:
        raise ZeroDivisionError("patient Doe")

    monkeypatch.setattr(nights, "look", broken)
    with pytest.raises(ZeroDivisionError):
        site.run(0)
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.FAILED
    assert "ZeroDivisionError" in ending.reason
    assert "Doe" not in ending.reason
    assert report(site)["state"] == "FAILED"


def test_a_test_set_that_has_lost_its_pixels_promotes_nobody(make_site: Make) -> None:
    site = make_site()
    with site.readers() as session:
        masters = session.connection().exec_driver_sql(
            "SELECT i.master_digest FROM labelled_image i JOIN test_set_image t ON t.labelled_image_id = i.id "
            "WHERE t.share = 'TEST' ORDER BY i.id LIMIT 6"
        )
        for (digest,) in masters.all():
            master_path(site.settings.masters, digest).unlink()
    ending = site.run(0)
    assert ending is not None
    assert ending.state is NightState.KEPT, ending.reason
    assert "6 of the" in ending.reason
    assert "freeze it anew" in ending.reason


def test_what_the_gate_would_have_promoted_is_still_new_when_something_else_stood_against_it(
    make_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    strong = Drift(today=FIRST, level=Level.STRONG, blocks=True, words="another device", rules=rules_of(site.settings))
    with monkeypatch.context() as drifting:
        drifting.setattr(nights, "look", lambda *_: strong)
        blocked = site.run(0)
    assert blocked is not None
    assert blocked.state is NightState.KEPT
    with site.readers() as session:
        assert runs.last_learnt(session, FIRST + timedelta(days=1)) is None


def test_an_abandoned_night_is_ended_by_the_next_and_its_fit_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    # as a power cut leaves it whose end was after the hours of that night
    with copied(begun(tmp_path_factory), tmp_path) as site:
        after = site.run(1)
        assert after is not None
        assert after.state is NightState.PROMOTED, after.reason
        ended = night_of(site)
        assert (ended.state, "broken off" in (ended.reason or "")) == (NightState.CONTINUES, True)
        assert "goes on" in (night_of(site, 1).plan or "")
        assert night_of(site, 1).work == FIRST.isoformat()
