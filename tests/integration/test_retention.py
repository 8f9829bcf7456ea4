"""Retention on both databases: what goes, what stays, and what everybody else then says of it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from core import failpoints
from core.errors import Misconfigured, TransientFailure
from core.settings import Settings, load
from core.spool import Spool
from db import removal
from db.audit import Audit
from db.base import database_now, make_readers
from db.models import learning
from db.models.dataset import DataSet, DataSetImage, Label, LabelledImage
from db.models.flag import Flag
from db.models.receipt import Receipt
from db.models.retention import RemovedMaster, RetentionRun
from db.models.study import Image, Study, StudyRevision
from db.reconcile import Misfit, Reconciliation
from db.retention_runs import Removed, claim, finish
from db.selection import labelled
from db.story import trace
from db.vocabulary import DataLayout, FlagKind, ImageClass, LabelOrigin, ReceiptState, Share, Use, VerdictKind
from imaging.master import save_master
from tests.factories import dicom_objects as objects
from tests.factories.commitment import DX
from tests.factories.rows import FlagFactory, StudyFactory, StudyRevisionFactory, VerdictFactory, ago, rows_in
from tests.integration.commitment_kit import Ear, ask, name_peer
from tests.integration.retention_kit import DAY, OLD, House, grow_old, picture_of
from tests.integration.worker_kit import bench
from worker.commitment.reporter import Reporter
from worker.retention import masters as retention_masters
from worker.retention.masters import Masters
from worker.retention.policy import Policies
from worker.retention.run import plan, run, run_if_due
from worker.settle import settle_due

Sessions = sessionmaker[Session]


@pytest.fixture
def policy(ledger_settings: Settings) -> Settings:
    return ledger_settings.model_copy(update={"retention_stored_days": 30, "retention_masters_days": 60})


@pytest.fixture
def house(policy: Settings, sessions: Sessions) -> House:
    return House(policy, sessions)


def reconcile(house: House, engine: Engine) -> Reconciliation:
    return Audit(make_readers(engine), house.data, pause=lambda _: None).run()


def test_old_pixels_go_and_rows_tell_when_and_why(
    house: House, policy: Settings, sessions: Sessions, engine: Engine
) -> None:
    old, old_master = house.study()
    newer, newer_master = house.study(age=40 * DAY)
    new, new_master = house.study(age=20 * DAY)
    expected = Removed(2, old.stat().st_size + newer.stat().st_size, 1, old_master.stat().st_size)
    assert plan(policy, make_readers(engine)) == expected
    assert old.exists()
    assert run(policy, sessions) == expected
    assert [path.exists() for path in (old, newer, new)] == [False, False, True]
    assert [path.exists() for path in (old_master, newer_master, new_master)] == [False, True, True]
    receipts = house.receipts()
    assert [receipt.removal_policy for receipt in receipts] == ["RETENTION_STORED_DAYS=30"] * 2 + [None]
    assert [receipt.removed_at is not None for receipt in receipts] == [True, True, False]
    found = reconcile(house, engine)
    assert found.clean
    assert (found.terminal, found.removed, found.removing, found.files) == (3, 2, 0, 1)
    with sessions() as session:
        (story,) = trace(session, "1.2.3.1")
    assert story.receipts[0].removed_at == receipts[0].removed_at
    assert story.images[0].master_gone is not None
    assert story.images[0].master_gone.policy == "RETENTION_MASTERS_DAYS=60"
    assert run(policy, sessions) == Removed()


@pytest.mark.parametrize("state", sorted(set(ReceiptState)))
def test_only_what_nothing_can_follow_goes(
    house: House, policy: Settings, sessions: Sessions, state: ReceiptState
) -> None:
    path, _ = house.study(state=state)
    run(policy, sessions)
    # in quarantine it may be put back to work, and then needs its file
    assert path.exists() == (state in {ReceiptState.PENDING, ReceiptState.QUARANTINED})


@pytest.mark.parametrize("how", ["cleared_at", "answered_at"])
def test_nothing_goes_while_its_study_is_open_or_waits_for_a_reader(
    house: House, policy: Settings, sessions: Sessions, how: str
) -> None:
    open_study = house.study(settled=False)
    flagged = house.study()
    with sessions.begin() as session, rows_in(session):
        FlagFactory(study=session.get_one(Study, house.study_id(2)), kind=FlagKind.CONFLICT)
    run(policy, sessions)
    assert all(path.exists() for path in (*open_study, *flagged))
    with sessions.begin() as session:
        session.execute(update(Flag).values({how: database_now()}))
    run(policy, sessions)
    assert all(path.exists() for path in open_study)
    assert not any(path.exists() for path in flagged)


def test_nothing_goes_while_its_readers_are_in_dispute(house: House, policy: Settings, sessions: Sessions) -> None:
    paths = house.study()
    with sessions.begin() as session, rows_in(session):
        study = session.get_one(Study, house.study_id())
        # both verdicts answer the flag; which of them is right, another reader must decide
        FlagFactory(study=study, answered_at=ago(OLD))
        revision = StudyRevisionFactory(study=study, settled_at=ago(OLD))
        VerdictFactory(study_revision=revision, reader="a", verdict=VerdictKind.PNEUMONIA)
        VerdictFactory(study_revision=revision, reader="b", verdict=VerdictKind.OTHER_ABNORMAL)
        revision_id = revision.id
    assert run(policy, sessions) == Removed()
    assert all(path.exists() for path in paths)
    with sessions.begin() as session, rows_in(session):
        revision = session.get_one(StudyRevision, revision_id)
        VerdictFactory(study_revision=revision, reader="c", verdict=VerdictKind.NO_PNEUMONIA)
    run(policy, sessions)
    assert not any(path.exists() for path in paths)


def test_a_file_of_an_instance_in_force_in_another_study_waits_for_both(
    house: House, policy: Settings, sessions: Sessions
) -> None:
    path, _ = house.study(state=ReceiptState.CONFLICT)
    with sessions.begin() as session, rows_in(session):
        # the receipt names another study, whose conflict a person has settled; the image's own study has a flag
        other = StudyFactory(settled_at=ago(OLD))
        home = session.get_one(Study, house.study_id(1))
        flag = FlagFactory(study=home, kind=FlagKind.CONFLICT)
        receipt = session.scalars(select(Receipt)).one()
        receipt.study_id = other.id
    run(policy, sessions)
    assert path.exists()
    with sessions.begin() as session:
        session.get_one(Flag, flag.id).cleared_at = ago(1)
    run(policy, sessions)
    assert not path.exists()


def test_old_files_that_stay_do_not_hide_those_that_go(
    house: House, policy: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_LOOK_AT", 2)
    kept = [house.study(age=OLD + DAY, state=ReceiptState.QUARANTINED)[0] for _ in range(5)]
    gone = [house.study()[0] for _ in range(3)]
    assert run(policy, sessions).stored_files == 3
    assert [path.exists() for path in (*kept, *gone)] == [True] * 5 + [False] * 3


def test_without_a_policy_all_is_kept(house: House, ledger_settings: Settings, sessions: Sessions) -> None:
    paths = house.study(age=3650 * DAY)
    assert run(ledger_settings, sessions) == Removed()
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("masters", [29, 60])
def test_masters_are_kept_as_long_as_files_at_least(monkeypatch: pytest.MonkeyPatch, masters: int) -> None:
    monkeypatch.setenv("LUNGWATCH_RETENTION_MASTERS_DAYS", str(masters))
    if masters < 30:
        monkeypatch.setenv("LUNGWATCH_RETENTION_STORED_DAYS", "30")
    with pytest.raises(Misconfigured, match="retention_masters_days"):
        load()


def test_a_file_that_is_missing_already_is_still_a_loss(
    house: House, policy: Settings, sessions: Sessions, engine: Engine
) -> None:
    path, _ = house.study()
    path.unlink()
    assert run(policy, sessions).stored_files == 0
    assert [finding.misfit for finding in reconcile(house, engine).findings] == [Misfit.MISSING]


def test_a_file_that_comes_back_is_named(house: House, policy: Settings, sessions: Sessions, engine: Engine) -> None:
    path, _ = house.study()
    content = path.read_bytes()
    run(policy, sessions)
    path.write_bytes(content)
    assert [finding.misfit for finding in reconcile(house, engine).findings] == [Misfit.REMOVED]


def test_nothing_is_noted_where_the_data_directory_is_not(house: House, policy: Settings, sessions: Sessions) -> None:
    house.study()
    with sessions.begin() as session:
        removal.decide_files(session, removal.removable_files(session, ago(DAY))[0], "POLICY=1")
    shutil.rmtree(house.data / "stored")
    with pytest.raises(TransientFailure, match="mounted"):
        run(policy, sessions)
    assert house.receipts()[0].removed_at is None


@pytest.mark.parametrize("lost", ["masters", "folder"])
def test_no_master_is_noted_as_gone_where_the_masters_are_not_mounted(
    house: House, policy: Settings, sessions: Sessions, lost: str
) -> None:
    _, master = house.study()
    with sessions.begin() as session:
        removal.decide_masters(session, [master.stem], "POLICY=1")
    shutil.rmtree(house.data / "masters" if lost == "masters" else master.parent)
    with pytest.raises(TransientFailure, match="mounted"):
        run(policy, sessions)
    with sessions() as session:
        assert removal.unfinished_masters(session) == [master.stem]


def test_a_decision_is_taken_back_where_a_reason_to_keep_came_meanwhile(
    house: House, policy: Settings, sessions: Sessions
) -> None:
    path, _ = house.study()
    with sessions.begin() as session, rows_in(session):
        removal.decide_files(session, removal.removable_files(session, ago(DAY))[0], "POLICY=1")
        FlagFactory(study=session.get_one(Study, house.study_id()), kind=FlagKind.CONFLICT)
    assert run(policy, sessions) == Removed()
    assert path.exists()
    assert house.receipts()[0].removal_policy is None


@pytest.mark.parametrize("named", [True, False])
def test_what_an_open_request_for_commitment_names_stays_until_it_is_answered(
    house: House, policy: Settings, sessions: Sessions, engine: Engine, named: bool
) -> None:
    path, _ = house.study()
    other, _ = house.study()
    with sessions.begin() as session:
        if not named:
            # as receipts of the first release are
            session.execute(update(Receipt).values(sop_class_uid=None, sop_instance_uid=None))
    with Ear() as ear:
        name_peer(policy, ear.port)
        Spool(house.data, "listener").new.mkdir(parents=True, exist_ok=True)
        ask(policy, sessions, [(DX, "1.2.3.1")])
        run(policy, sessions)
        assert (path.exists(), other.exists()) == (True, False)
        reporter = Reporter(policy, sessions=sessions, readers=make_readers(engine), stopping=threading.Event())
        ask(policy, sessions, [(DX, "1.2.3.1"), (DX, "1.2.3.2")], transaction_uid="1.2.9")
        while reporter.step():
            pass
        # the standard's word for what was removed: no such object instance
        by_transaction = {told.transaction_uid: told for told in ear.told}
        assert by_transaction["1.2.9"].committed == [(DX, "1.2.3.1")]
        assert by_transaction["1.2.9"].failed == {(DX, "1.2.3.2"): 0x0112}
        run(policy, sessions)
        assert not path.exists()


def test_what_is_about_to_go_is_not_vouched_for(
    house: House, policy: Settings, sessions: Sessions, engine: Engine
) -> None:
    path, _ = house.study()
    with sessions.begin() as session:
        removal.decide_files(session, removal.removable_files(session, ago(DAY))[0], "POLICY=1")
    with Ear() as ear:
        name_peer(policy, ear.port)
        Spool(house.data, "listener").new.mkdir(parents=True, exist_ok=True)
        ask(policy, sessions, [(DX, "1.2.3.1")])
        Reporter(policy, sessions=sessions, readers=make_readers(engine), stopping=threading.Event()).step()
        assert path.exists()
        assert ear.told[0].failed == {(DX, "1.2.3.1"): 0x0112}


def test_a_duplicate_of_what_was_removed_is_still_one(policy: Settings, sessions: Sessions) -> None:
    settings = policy.model_copy(update={"audit_share": 0.0, "audit_flagged_share": 0.0})
    instance = objects.phantom()
    with bench(settings, sessions) as worker:
        worker.deliver(instance)
        worker.run()
        settle_due(settings, sessions)
        with sessions.begin() as session:
            session.execute(update(Flag).values(cleared_at=database_now()))
        grow_old(sessions)
        for master in (settings.data_dir / "masters").rglob("*.png"):
            os.utime(master, (time.time() - OLD, time.time() - OLD))
        removed = run(settings, sessions)
        assert (removed.stored_files, removed.masters) == (1, 1)
        again = worker.deliver(instance, peer="OTHER")
        worker.run()
        assert worker.receipt(again).state is ReceiptState.DUPLICATE
        assert worker.runtime.images == 1
        # another header over the same pixels is read, and so its master is kept again
        corrected = objects.phantom()
        corrected.SOPInstanceUID = instance.SOPInstanceUID
        corrected.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
        corrected.StudyInstanceUID = instance.StudyInstanceUID
        corrected.Manufacturer = "ANOTHER"
        revised = worker.deliver(corrected)
        worker.run()
        assert worker.receipt(revised).state is ReceiptState.HEADER_REVISION
        with sessions() as session:
            (image,) = trace(session, str(instance.SOPInstanceUID))[0].images
        assert image.master_gone is None
        assert len(list((settings.data_dir / "masters").rglob("*.png"))) == 1


def test_a_master_kept_anew_or_imported_stays_and_one_that_nothing_names_goes(
    house: House, policy: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, touched = house.study()
    _, imported = house.study()
    _, nameless = house.study()
    with sessions.begin() as session, rows_in(session):
        picture = LabelledImage(master_digest=imported.stem, patient_digest="p", added_at=ago(OLD))
        data_set = DataSet(
            name="set", version=1, digest="d", layout=DataLayout.TABLE, origin="o", images=1, imported_at=ago(OLD)
        )
        session.add_all([picture, data_set])
        session.flush()
        session.add(
            DataSetImage(data_set_id=data_set.id, labelled_image_id=picture.id, key="k", file_sha256="f", use=Use.FIT)
        )
        session.execute(update(Image).where(Image.master_digest == nameless.stem).values(master_digest=None))
    aside = retention_masters._aside

    def while_it_is_looked_at(path: Path, run: str) -> Path:
        # a helper keeps the same pixels in the moment before they go
        if path == touched:
            save_master(house.data / "masters", picture_of(1))
        return aside(path, run)

    monkeypatch.setattr(retention_masters, "_aside", while_it_is_looked_at)
    assert run(policy, sessions).masters == 1
    assert (touched.exists(), imported.exists(), nameless.exists()) == (True, True, False)
    with sessions() as session:
        assert list(session.scalars(select(RemovedMaster.digest))) == [nameless.stem]


def test_the_masters_of_the_frozen_test_set_in_force_stay(house: House, policy: Settings, sessions: Sessions) -> None:
    masters = [house.study()[1] for _ in range(3)]
    with sessions.begin() as session, rows_in(session):
        for version, master in enumerate(masters[:2], start=1):
            picture = LabelledImage(master_digest=master.stem, patient_digest="p", added_at=ago(OLD))
            frozen = learning.TestSet(version=version, digest=str(version), frozen_at=ago(OLD), actor="a", reason="r")
            session.add_all([picture, frozen])
            session.flush()
            label = Label(
                labelled_image_id=picture.id,
                version=1,
                label=ImageClass.NORMAL,
                origin=LabelOrigin.VERDICT,
                made_at=ago(OLD),
            )
            session.add(label)
            session.flush()
            session.add(
                learning.TestSetImage(
                    test_set_id=frozen.id, labelled_image_id=picture.id, label_id=label.id, share=Share.TEST
                )
            )
    assert run(policy, sessions).masters == 2
    # of the version before this one nothing is judged any more
    assert [master.exists() for master in masters] == [False, True, False]


def test_a_master_made_anew_after_a_run_was_cut_short_stays(house: House, policy: Settings, sessions: Sessions) -> None:
    _, master = house.study()
    with sessions.begin() as session:
        removal.decide_masters(session, [master.stem], "POLICY=1")
    aside = retention_masters._aside(master, "0")
    master.rename(aside)
    save_master(house.data / "masters", picture_of(1))
    assert run(policy, sessions).masters == 0
    assert (master.exists(), aside.exists()) == (True, False)
    assert time.time() - master.stat().st_mtime < DAY


def test_two_runs_that_take_one_master_never_take_one_kept_anew(
    house: House, policy: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, master = house.study()
    unlink = Path.unlink
    first, second = (Masters(house.data / "masters", sessions, Policies.of(policy).masters) for _ in range(2))
    with sessions.begin() as session:
        removal.decide_masters(session, [master.stem], "POLICY=1")
        before = removal.cutoff(session, 60)

    def die(_: str) -> None:
        raise InterruptedError

    def late(path: Path) -> None:
        # the first has looked at it; now a helper keeps the same pixels, and a second run takes them and dies
        save_master(house.data / "masters", picture_of(1))
        patched.setattr(failpoints, "reach", die)
        with pytest.raises(InterruptedError):
            second._let_go(master.stem, before)
        patched.undo()
        unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", late)
        first._let_go(master.stem, before)
    run(policy, sessions)
    assert time.time() - master.stat().st_mtime < DAY


def test_the_selection_for_training_lists_what_lost_its_pixels(
    house: House, policy: Settings, sessions: Sessions
) -> None:
    masters = [house.study(age=age)[1] for age in (OLD, OLD, DAY)]
    with sessions.begin() as session:
        for number, master in enumerate(masters):
            picture = LabelledImage(master_digest=master.stem, patient_digest=f"p{number}", added_at=ago(DAY))
            session.add(picture)
            session.flush()
            for version, label in ((1, ImageClass.NORMAL), (2, ImageClass.PNEUMONIA))[: 1 + number % 2]:
                session.add(
                    Label(
                        labelled_image_id=picture.id,
                        version=version,
                        label=label,
                        origin=LabelOrigin.VERDICT,
                        made_at=ago(DAY),
                    )
                )
    run(policy, sessions)
    with sessions() as session:
        first = labelled(session, 2)
        rest = labelled(session, 2, first[-1].labelled_image_id)
    found = [*first, *rest]
    assert [one.master_digest for one in found] == [master.stem for master in masters]
    assert [one.label for one in found] == [ImageClass.NORMAL, ImageClass.PNEUMONIA, ImageClass.NORMAL]
    assert [one.pixels_gone is not None for one in found] == [True, True, False]


def test_the_timed_run_is_done_once_a_day_by_whoever_comes_first(
    house: House, policy: Settings, sessions: Sessions
) -> None:
    path, _ = house.study()
    assert run_if_due(policy, sessions) is not None
    assert not path.exists()
    another, _ = house.study()
    assert run_if_due(policy, sessions) is None
    assert another.exists()
    with sessions() as session:
        (row,) = session.scalars(select(RetentionRun))
    assert (row.stored_files, row.masters, row.finished_at is not None) == (1, 1, True)


def test_a_run_whose_holder_died_is_taken_over_when_its_lease_ends(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first = claim(session, 600)
    with sessions.begin() as session:
        assert claim(session, 600) is None
        session.execute(update(RetentionRun).values(lease_until=database_now(-1)))
    with sessions.begin() as session:
        second = claim(session, 600)
    assert second is not None
    with sessions.begin() as session:
        # the one that was paused may no longer say what was done
        assert not finish(session, str(first), Removed())
        assert finish(session, second, Removed(1, 2, 3, 4))
        assert session.scalar(select(func.count()).select_from(RetentionRun)) == 1


def test_two_runs_at_once_remove_each_file_once(
    house: House, policy: Settings, sessions: Sessions, engine: Engine
) -> None:
    for _ in range(12):
        house.study()
    done: list[Removed] = []
    threads = [threading.Thread(target=lambda: done.append(run(policy, sessions))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
    assert list((house.data / "stored").rglob("*.dcm")) == []
    assert reconcile(house, engine).clean
    assert reconcile(house, engine).removed == 12
    with sessions() as session:
        assert removal.unfinished_masters(session) == []


@pytest.mark.parametrize("ledger_settings", ["postgresql"], indirect=True)
def test_the_server_leaves_the_locks_to_whoever_removes_files(house: House, sessions: Sessions) -> None:
    house.study()
    with sessions.begin() as session:
        idle = text("SHOW idle_in_transaction_session_timeout")
        assert session.scalar(idle) != "0"
        removal.lock_files(session, [], None)
        assert session.scalar(idle) == "0"
    with sessions.begin() as session:
        assert session.scalar(idle) != "0"
        removal.lock_masters(session, [], None)
        assert session.scalar(idle) == "0"
