"""What may go by policy, and noting that it went: pixels are removed, rows never.

A file goes in three steps, so that a crash between any two can be told from a
loss: the decision is committed, the file is removed, the removal is committed.
Whether it may go is asked twice: when it is decided, and again holding the
study's lock until it is gone, because whoever raises a flag, enters a verdict or
revises a study holds that lock. Nothing waits for a lock here: a study in use is left for later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.orm import Session, aliased

from core.spool import Entry
from db.answering import waits
from db.base import database_now, keep_locks_while_idle
from db.disputes import disputed
from db.inserting import insert
from db.models.dataset import DataSetImage, LabelledImage
from db.models.flag import Flag
from db.models.learning import TestSet, TestSetImage
from db.models.receipt import Receipt
from db.models.retention import RemovedMaster
from db.models.study import Image, Study
from db.vocabulary import FINAL

# at a time, of old receipts: on a cold disk one takes some milliseconds
_LOOK_AT: Final = 1000
_Name = TypeVar("_Name", int, str)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The file of a receipt, as far as removing it goes.

    Attributes
    ----------
    receipt_id : int
    entry : Entry
        Names the file in ``stored/``.
    size : int
        Bytes.
    sop_instance_uid : str or None
        What storage commitment may be asked for.
    finished_at : datetime
        When the receipt came to its end.
    """

    receipt_id: int
    entry: Entry
    size: int
    sop_instance_uid: str | None
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a look at old receipts came."""

    finished_at: datetime
    receipt_id: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A master that retention removed.

    Attributes
    ----------
    policy : str
    removed_at : datetime or None
        None while it is being removed.
    """

    policy: str
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Locked(Generic[_Name]):
    """What is ours to dispose of until the transaction ends; what is missing is in use by somebody else.

    Attributes
    ----------
    held : frozenset
        Whose studies are locked.
    free : frozenset
        Of these, what may still go.
    """

    held: frozenset[_Name]
    free: frozenset[_Name]


def cutoff(session: Session, days: int) -> datetime:
    """Return the time so many days ago by the database's clock."""
    return session.scalars(select(database_now())).one() - timedelta(days=days)


def removable_files(
    session: Session, before: datetime, after: Mark | None = None
) -> tuple[list[StoredFile], Mark | None]:
    """Look at the next so many old receipts and return those whose file a policy may remove, and how far it looked.

    A receipt's file may go when nothing can follow its state, it ended before
    the time given, and each study it belongs to (the one it names, and the one
    its image is in force in) is settled, has no open flag and is in no dispute:
    no review is outstanding, no conflict waits for a person, no further reader
    must decide, nothing is to be delivered.

    However many old files stay, because nobody clears flags, say, no statement
    reads more than `_LOOK_AT` receipts.

    Parameters
    ----------
    session : Session
        Any session.
    before : datetime
        From `cutoff`.
    after : Mark, optional
        Where the look before ended.

    Returns
    -------
    list of StoredFile
        Those whose receipts ended first come first; may be empty before the end.
    Mark or None
        Where to go on; None at the end.
    """
    window = (
        select(Receipt.finished_at, Receipt.id)
        .where(Receipt.finished_at < before, Receipt.removed_at.is_(None))
        .order_by(Receipt.finished_at, Receipt.id)
        .limit(_LOOK_AT)
    )
    if after is not None:
        window = window.where(tuple_(Receipt.finished_at, Receipt.id) > tuple_(after.finished_at, after.receipt_id))
    seen = [Mark(finished_at, number) for finished_at, number in session.execute(window) if finished_at is not None]
    if not seen:
        return [], None
    query = _files().where(
        Receipt.id.in_([mark.receipt_id for mark in seen]), Receipt.removal_policy.is_(None), _may_go(before)
    )
    return [_file(row) for row in session.execute(query.order_by(Receipt.finished_at, Receipt.id))], seen[-1]


def unfinished_files(session: Session, limit: int, after_id: int = 0) -> list[StoredFile]:
    """Return files whose removal was decided and not noted: of a run that ended in between."""
    query = _files().where(Receipt.removal_policy.is_not(None), Receipt.removed_at.is_(None), Receipt.id > after_id)
    return [_file(row) for row in session.execute(query.order_by(Receipt.id).limit(limit))]


def decide_files(session: Session, files: Iterable[StoredFile], policy: str) -> None:
    """Note that these files go; commit before the first does."""
    session.execute(
        update(Receipt)
        .where(Receipt.id.in_([file.receipt_id for file in files]), Receipt.removal_policy.is_(None))
        .values(removal_policy=policy)
        .execution_options(synchronize_session=False)
    )


def lock_files(session: Session, files: Sequence[StoredFile], before: datetime | None) -> Locked[int]:
    """Lock the studies of receipts whose file is to go, and ask again whether it may.

    Parameters
    ----------
    before : datetime or None
        From `cutoff`; None where no policy lets anything go any more.

    Returns
    -------
    Locked
        Of receipts. One whose decision another run has taken back meanwhile may not go.
    """
    keep_locks_while_idle(session)
    ids = [file.receipt_id for file in files]
    decided = select(Receipt.id, Receipt.study_id, Image.study_id.label("home_id")).where(
        Receipt.id.in_(ids), Receipt.image_id == Image.id
    )
    of = session.execute(decided).all()
    locked = _lock(session, {number for row in of for number in (row.study_id, row.home_id)})
    held = {row.id for row in of if {row.study_id, row.home_id} <= locked}
    if before is None:
        return Locked(frozenset(held), frozenset())
    free = select(Receipt.id).where(Receipt.id.in_(held), Receipt.removal_policy.is_not(None), _may_go(before))
    return Locked(frozenset(held), frozenset(session.scalars(free)))


def note_removed(session: Session, receipt_ids: Sequence[int]) -> None:
    """Note that these receipts' files are gone."""
    session.execute(
        update(Receipt)
        .where(Receipt.id.in_(receipt_ids), Receipt.removed_at.is_(None))
        .values(removed_at=database_now())
        .execution_options(synchronize_session=False)
    )


def withdraw_files(session: Session, receipt_ids: Sequence[int]) -> None:
    """Take back the decision about files that are still there."""
    session.execute(
        update(Receipt)
        .where(Receipt.id.in_(receipt_ids), Receipt.removed_at.is_(None))
        .values(removal_policy=None)
        .execution_options(synchronize_session=False)
    )


def needed_masters(session: Session, digests: Sequence[str], before: datetime) -> set[str]:
    """Return the masters among these that must stay.

    A master must stay while a study with an image of these pixels is open, was
    settled after the time given, has an open flag or is in dispute; where a
    data set was imported with it, whose owner decides about that; and while the
    frozen test set in force has it, or the rest would not stand for what was frozen. One that
    nothing in the ledger names (a conflicting delivery's, say) may go.
    """
    shown = (
        select(Image.master_digest)
        .join(Study, Study.id == Image.study_id)
        .where(
            Image.master_digest.in_(digests),
            or_(Study.settled_at.is_(None), Study.settled_at >= before, _open_flag(Study.id), disputed("study")),
        )
    )
    imported = select(LabelledImage.master_digest).where(
        LabelledImage.master_digest.in_(digests), exists().where(DataSetImage.labelled_image_id == LabelledImage.id)
    )
    frozen = (
        select(LabelledImage.master_digest)
        .join(TestSetImage, TestSetImage.labelled_image_id == LabelledImage.id)
        .where(
            LabelledImage.master_digest.in_(digests),
            TestSetImage.test_set_id == select(func.max(TestSet.id)).scalar_subquery(),
        )
    )
    needed = (*session.scalars(shown), *session.scalars(imported), *session.scalars(frozen))
    return {digest for digest in needed if digest is not None}


def lock_masters(session: Session, digests: Sequence[str], before: datetime | None) -> Locked[str]:
    """Lock the studies that show masters which are to go, and ask again whether they may; as `lock_files`."""
    keep_locks_while_idle(session)
    of = session.execute(select(Image.study_id, Image.master_digest).where(Image.master_digest.in_(digests))).all()
    locked = _lock(session, {row.study_id for row in of})
    held = frozenset(digests) - {row.master_digest for row in of if row.study_id not in locked}
    if before is None:
        return Locked(held, frozenset())
    decided = session.scalars(
        select(RemovedMaster.digest).where(RemovedMaster.digest.in_(digests), RemovedMaster.removed_at.is_(None))
    )
    return Locked(held, held & frozenset(decided) - needed_masters(session, digests, before))


def decide_masters(session: Session, digests: Sequence[str], policy: str) -> None:
    """Note that these masters go; commit before the first does. One that went before and came back goes again."""
    rows = [{"digest": digest, "policy": policy, "decided_at": database_now()} for digest in sorted(digests)]
    again = {"policy": policy, "decided_at": database_now(), "removed_at": None, "restored_at": None}
    for row in rows:
        session.execute(
            insert(session, RemovedMaster)
            .values(row)
            .on_conflict_do_update(index_elements=[RemovedMaster.digest], set_=again)
        )


def unfinished_masters(session: Session) -> list[str]:
    """Return masters whose removal was decided and not noted: of a run that ended in between."""
    query = select(RemovedMaster.digest).where(RemovedMaster.removed_at.is_(None))
    return list(session.scalars(query.order_by(RemovedMaster.digest)))


def note_removed_masters(session: Session, digests: Sequence[str]) -> None:
    """Note that these masters are gone."""
    session.execute(
        update(RemovedMaster)
        .where(RemovedMaster.digest.in_(digests), RemovedMaster.removed_at.is_(None))
        .values(removed_at=database_now())
        .execution_options(synchronize_session=False)
    )


def withdraw_masters(session: Session, digests: Sequence[str]) -> None:
    """Take back the decision about masters that are still there: nothing happened to them."""
    session.execute(
        delete(RemovedMaster)
        .where(RemovedMaster.digest.in_(digests), RemovedMaster.removed_at.is_(None))
        .execution_options(synchronize_session=False)
    )


def note_kept_again(session: Session, digests: Sequence[str]) -> None:
    """Note that masters were made, whether or not they had been removed before."""
    session.execute(
        update(RemovedMaster)
        .where(RemovedMaster.digest.in_(digests), RemovedMaster.restored_at.is_(None))
        .values(restored_at=database_now())
        .execution_options(synchronize_session=False)
    )


def gone(session: Session, digests: Sequence[str]) -> dict[str, Gone]:
    """Return which of these masters retention removed, and when; those that are there are left out."""
    rows = session.execute(
        select(RemovedMaster.digest, RemovedMaster.policy, RemovedMaster.removed_at).where(
            RemovedMaster.digest.in_(digests), RemovedMaster.restored_at.is_(None)
        )
    )
    return {row.digest: Gone(row.policy, row.removed_at) for row in rows}


def _files() -> Any:
    image = aliased(Image)
    # receipts of the first release do not name their instance
    instance = func.coalesce(Receipt.sop_instance_uid, image.sop_instance_uid).label("sop_instance_uid")
    return select(Receipt.id, Receipt.entry, Receipt.size, instance, Receipt.finished_at).outerjoin(
        image, image.id == Receipt.image_id
    )


def _file(row: Any) -> StoredFile:
    return StoredFile(row.id, Entry.parse(row.entry), row.size, row.sop_instance_uid, row.finished_at)


def _may_go(before: datetime) -> ColumnElement[bool]:
    named, home = aliased(Study, name="named"), aliased(Study, name="home")
    return and_(
        Receipt.state.in_(sorted(FINAL)),
        Receipt.finished_at < before,
        Receipt.stored_at.is_not(None),
        Receipt.removed_at.is_(None),
        exists().where(named.id == Receipt.study_id, *_done_with(named, "named")),
        exists().where(Image.id == Receipt.image_id, home.id == Image.study_id, *_done_with(home, "home")),
    )


def _done_with(study: type[Study], called: str) -> tuple[ColumnElement[bool], ...]:
    return study.settled_at.is_not(None), ~_open_flag(study.id), ~disputed(called)


def _open_flag(study_id: Any) -> ColumnElement[bool]:
    return exists().where(Flag.study_id == study_id, waits())


def _lock(session: Session, study_ids: Iterable[int | None]) -> set[int]:
    """Lock those studies that nobody else holds."""
    wanted = sorted(number for number in study_ids if number is not None)
    query = select(Study.id).where(Study.id.in_(wanted)).order_by(Study.id).with_for_update(skip_locked=True)
    return set(session.scalars(query))
