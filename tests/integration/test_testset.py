"""The frozen test set on both databases: what freezing adds, keeps and lets go, and the sealed share."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from bundle.load import bring_up
from core.errors import TransientFailure
from core.settings import Settings
from db.evaluations import openings
from db.models import learning
from db.models.learning import Evaluation, PatientSide
from db.models.model import ModelVersion
from db.models.retention import RemovedMaster
from db.test_sets import find, frozen
from db.vocabulary import ExaminedOn, ImageClass, Share, Side, Use
from tests.factories.bundles import starter
from tests.factories.rows import ModelVersionFactory, ago, rows_in
from tests.integration.snapshot_kit import ILL, WELL, Site, patients
from training.datasets.patients import Split
from training.nightly.snapshot import freezing, sealed
from training.nightly.snapshot.changes import changed_in_test
from training.nightly.snapshot.collect import Collected, collect
from training.nightly.snapshot.freezing import Lost, NothingToFreeze, Plan, freeze
from training.nightly.snapshot.material import material
from training.nightly.snapshot.recent import recent
from training.nightly.snapshot.sealed import Opened, StaysSealed, open_sealed
from training.nightly.snapshot.take import take

pytestmark = pytest.mark.usefixtures("few_resamples")
Sessions = sessionmaker[Session]
DAY = 86_400


@pytest.fixture
def site(ledger_settings: Settings, sessions: Sessions) -> Site:
    return Site(ledger_settings, sessions)


def freeze_now(site: Site, *, dry_run: bool = False) -> Plan:
    return freeze(site.settings, site.sessions, actor="somebody", reason="a test", dry_run=dry_run)


def held(sessions: Sessions) -> dict[str, tuple[Share, ImageClass]]:
    """Return what the version in force holds, by picture."""
    with sessions() as session:
        found = find(session)
        assert found is not None
        return {one.master_digest: (one.share, one.label) for one in frozen(session, found.id)}


def test_there_is_nothing_to_freeze_without_labels_or_without_held_out_patients(site: Site, sessions: Sessions) -> None:
    with pytest.raises(NothingToFreeze, match="held-out patient"):
        freeze_now(site)
    site.label(patients(Side.FIT, 1)[0], ILL, 1)
    with pytest.raises(NothingToFreeze):
        freeze_now(site)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(learning.TestSet)) == 0


def test_the_test_set_is_what_was_frozen_until_somebody_freezes_again(site: Site, sessions: Sessions) -> None:
    (openly, later), (secret,) = patients(Side.HELD_OUT, 2, Share.TEST), patients(Side.HELD_OUT, 1, Share.SEALED)
    one, two = site.label(openly, ILL, 1), site.label(secret, WELL, 2)
    planned = freeze_now(site, dry_run=True)
    with sessions() as session:
        # a dry run places nobody either
        assert session.scalar(select(func.count()).select_from(PatientSide)) == 0
    assert freeze_now(site) == planned
    assert held(sessions) == {one: (Share.TEST, ILL), two: (Share.SEALED, WELL)}
    assert not freeze_now(site).changes
    # more data, also of the patients tested on, change nothing of it
    three = site.label(later, WELL, 3)
    four = site.label(openly, WELL, 4)
    site.label(patients(Side.FIT, 1)[0], WELL, 5)
    _, manifest = take(site.settings, sessions)
    assert {p.master_digest: p.share for p in manifest.pictures if p.share} == {one: Share.TEST, two: Share.SEALED}
    splits = material(site.settings, manifest).assignment.items
    assert [item.path for item in splits[Split.TEST]] == [one]
    assert {item.path for item in splits[Split.RESERVED]} == {two, three, four}
    second = freeze_now(site)
    assert (second.version, {frozen.picture.master_digest for frozen in second.added}) == (2, {three, four})
    assert held(sessions) == {
        one: (Share.TEST, ILL),
        two: (Share.SEALED, WELL),
        three: (Share.TEST, WELL),
        four: (Share.TEST, WELL),
    }
    with sessions() as session:
        versions = session.scalars(select(learning.TestSet).order_by(learning.TestSet.version)).all()
        assert [version.digest for version in versions] == [planned.digest(), second.digest()]
        assert session.scalar(select(func.count()).select_from(learning.TestSetImage)) == 6
    assert take(site.settings, sessions)[1].test_set == second.digest()


def test_a_changed_label_is_reported_and_taken_over_by_freezing_alone(site: Site, sessions: Sessions) -> None:
    changed, withdrawn = patients(Side.HELD_OUT, 2, Share.TEST)
    one, two = site.label(changed, ILL, 1), site.label(withdrawn, ILL, 2)
    freeze_now(site)
    site.label(changed, WELL, 1)
    site.withdraw(withdrawn, two)
    _, manifest = take(site.settings, sessions)
    items = material(site.settings, manifest).assignment.items[Split.TEST]
    assert {item.path: item.label for item in items} == {one: "PNEUMONIA", two: "PNEUMONIA"}
    found = {picture.master_digest: picture.now for picture in changed_in_test(manifest)}
    assert found[two] is None
    assert found[one] is not None
    assert found[one].label is WELL
    with sessions() as session:
        # its readers no longer say what it would be judged by
        assert recent(session, manifest, ago(DAY)) == ()
    plan = freeze_now(site)
    assert [(frozen.picture.label, frozen.said.label) for frozen in plan.relabelled] == [(ILL, WELL)]
    assert [(picture.master_digest, why) for picture, why in plan.removed] == [(two, Lost.LABEL)]
    assert held(sessions) == {one: (Share.TEST, WELL)}
    assert changed_in_test(take(site.settings, sessions)[1]) == ()


def test_only_what_retention_removed_is_let_go(site: Site, sessions: Sessions) -> None:
    first, second, third = patients(Side.HELD_OUT, 3, Share.TEST)
    kept, removed, missing = (site.label(patient, ILL, seed) for seed, patient in enumerate((first, second, third)))
    freeze_now(site)
    for master in (removed, missing):
        site.lose(master)
    with sessions.begin() as session:
        session.add(RemovedMaster(digest=removed, policy="POLICY=1", decided_at=ago(20), removed_at=ago(10)))
    _, manifest = take(site.settings, sessions)
    assert {picture.master_digest for picture in manifest.gone if picture.share is Share.TEST} == {removed, missing}
    plan = freeze_now(site)
    assert [(picture.master_digest, why) for picture, why in plan.removed] == [(removed, Lost.PIXELS)]
    assert (plan.missing, set(held(sessions))) == (1, {kept, missing})


def test_of_two_who_freeze_at_once_one_is_told(site: Site, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    site.label(patients(Side.HELD_OUT, 1)[0], ILL, 1)
    looked: list[Collected] = []

    def look_and_be_overtaken(*arguments: Any, **options: Any) -> Collected:
        looked.append(collect(*arguments, **options))
        if len(looked) == 1:
            freeze_now(site)
        return looked[0]

    monkeypatch.setattr(freezing, "collect", look_and_be_overtaken)
    with pytest.raises(TransientFailure, match="meanwhile"):
        freeze_now(site)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(learning.TestSet)) == 1
        assert session.scalar(select(func.count()).select_from(learning.TestSetImage)) == 1


def test_a_starters_fitted_patients_never_land_in_the_test(site: Site, sessions: Sessions) -> None:
    # their hash would hold them out, the data set they came with does not
    fitted, tested = patients(Side.HELD_OUT, 2)
    _, theirs = site.import_set("public", [(fitted, ILL, 1, Use.FIT), (tested, WELL, 2, Use.TEST)])
    freeze_now(site)
    assert set(held(sessions)) == {theirs}


def open_now(site: Site) -> Opened:
    verified = starter()
    with site.sessions() as session:
        number = session.scalars(select(ModelVersion.id)).one()
    model = bring_up(verified, site.settings.runtime, 1)
    fitted = frozenset(patients(Side.HELD_OUT, 1, Share.SEALED))
    return open_sealed(site.settings, site.sessions, model, fitted, number, actor="somebody", reason="quarter")


def fill(site: Site) -> None:
    for share in Share:
        for seed, patient in enumerate(patients(Side.HELD_OUT, 4, share)):
            site.label(patient, (ILL, WELL)[seed % 2], 10 * list(Share).index(share) + seed)
    freeze_now(site)
    with site.sessions.begin() as session, rows_in(session):
        ModelVersionFactory(bundle_digest=starter().digest)


def test_the_sealed_share_is_opened_once_and_counted(site: Site, sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        ModelVersionFactory(bundle_digest=starter().digest)
    with pytest.raises(StaysSealed, match="no sealed picture"):
        open_now(site)
    for seed, patient in enumerate(patients(Side.HELD_OUT, 4, Share.SEALED)):
        site.label(patient, (ILL, WELL)[seed % 2], seed)
    site.label(patients(Side.HELD_OUT, 1, Share.TEST)[0], ILL, 9)
    freeze_now(site)
    opened = open_now(site)
    told = opened.to_dict()
    assert (opened.times, opened.test_set, opened.pixels_gone) == (1, 1, 0)
    assert (told["n"], told["patients"], told["patients_fitted_on"], told["split"]) == (4, 4, 1, "sealed")
    assert set(told["metrics"]["auc"]) == {"value", "low", "high"}
    with sessions() as session:
        (row,) = session.scalars(select(Evaluation))
        assert (row.examined_on, row.actor, row.reason, row.images) == (ExaminedOn.SEALED, "somebody", "quarter", 4)
        assert row.figures["auc"] == told["metrics"]["auc"]
        (when,) = openings(session)
    assert opened.closed_until - when == pytest.approx(timedelta(days=90), abs=timedelta(seconds=60))
    with pytest.raises(StaysSealed, match=f"opened on {when:%Y-%m-%d}, 1 times"):
        open_now(site)


def test_after_a_quarter_it_may_be_opened_again(site: Site, sessions: Sessions) -> None:
    fill(site)
    for days, refused in ((91, False), (89, True)):
        with sessions.begin() as session:
            session.add(
                Evaluation(
                    model_version_id=session.scalars(select(ModelVersion.id)).one(),
                    examined_on=ExaminedOn.SEALED,
                    images=1,
                    patients=1,
                    figures={},
                    actor="before",
                    made_at=ago(days * DAY),
                )
            )
        with sessions() as session:
            if refused:
                with pytest.raises(StaysSealed, match=f"{ago(-DAY):%Y-%m-%d}"):
                    sealed.refuse_closed(session, 90)
            else:
                assert sealed.refuse_closed(session, 90) == 1


def test_of_two_who_open_at_once_one_sees_nothing(
    site: Site, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(site)
    both_have_scored, both_are_let_in = threading.Barrier(2), threading.Barrier(2)
    refuse_closed, record = sealed.refuse_closed, sealed.record

    def ask(*arguments: Any, **options: Any) -> int:
        both_have_scored.wait(timeout=60)
        return refuse_closed(*arguments, **options)

    def write(*arguments: Any) -> int:
        # the other one can come here only if nothing keeps it out
        with suppress(threading.BrokenBarrierError):
            both_are_let_in.wait(timeout=0.5)
        return record(*arguments)

    monkeypatch.setattr(sealed, "refuse_closed", ask)
    monkeypatch.setattr(sealed, "record", write)
    found: list[object] = []

    def work() -> None:
        try:
            found.append(open_now(site))
        except StaysSealed as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(type(one).__name__ for one in found) == ["Opened", "StaysSealed"]
    with sessions() as session:
        assert len(openings(session)) == 1


def test_the_sealed_share_is_about_one_patient_in_four(site: Site, sessions: Sessions) -> None:
    everybody = patients(Side.HELD_OUT, 80)
    site.import_set("public", [(one, (ILL, WELL)[n % 2], n, Use.TEST) for n, one in enumerate(everybody)])
    freeze_now(site)
    shares = np.array([share is Share.SEALED for share, _ in held(sessions).values()])
    assert len(shares) == 80
    assert 0.1 < shares.mean() < 0.4
