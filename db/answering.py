"""Which flags verdicts answer: worked out whenever that may change, and kept with the flag, so that an index tells.

A reader's list is read from the flags that wait. Working out for each of years
of flags whether somebody has answered it would take longer with every verdict.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, and_, case, func, select, text, update
from sqlalchemy.orm import Session, aliased

from db.base import database_now
from db.models.flag import Flag
from db.vocabulary import FlagKind, VerdictKind

# A verdict w on a settled revision n that says something, and that its reader did not replace by a later one:
# `db.consensus.standing` in SQL.
STANDING: Final = f"""study_revision n JOIN verdict w ON w.study_revision_id = n.id
        WHERE w.verdict <> '{VerdictKind.INDETERMINATE}' AND NOT EXISTS (
            SELECT 1 FROM verdict later
            WHERE later.study_revision_id = w.study_revision_id AND later.reader = w.reader
            AND (later.read_at > w.read_at OR (later.read_at = w.read_at AND later.id > w.id)))"""  # noqa: S608

# Of an open flag f: nobody said anything of the present revision since it was raised. A reader's clock may be wrong, so
# what is said of times after a verdict was entered counts for nothing; a later revision is read once it is whole. The
# draw for blind review asks for a verdict and nothing else, so that one serves from whenever it is.
UNANSWERED: Final = f"""NOT EXISTS (
        SELECT 1 FROM study t, {STANDING}
        AND t.id = f.study_id AND n.study_id = t.id AND n.revision = t.revision
        AND (n.revision = 1 OR w.read_at >= n.settled_at)
        AND (f.kind = '{FlagKind.AUDIT}' OR (f.raised_at <= w.read_at AND f.raised_at <= w.recorded_at)))"""  # noqa: S608


def note_answers(session: Session, study_ids: Collection[int]) -> None:
    """Bring `Flag.answered_at` of these studies up to date with their verdicts; hold the studies' locks.

    To be called when a verdict is entered, and when a revision begins and settles.
    A flag that is raised is unanswered: nobody has read what it is about.
    """
    session.flush()
    open_flag = aliased(Flag, name="f")
    unanswered = select(open_flag.id).where(open_flag.study_id.in_(study_ids), text(UNANSWERED))
    since = func.coalesce(Flag.answered_at, database_now())
    session.execute(
        update(Flag)
        .where(Flag.study_id.in_(study_ids), Flag.cleared_at.is_(None))
        .values(answered_at=case((Flag.id.in_(unanswered), None), else_=since))
        .execution_options(synchronize_session="fetch")
    )


def waits(flag: type[Flag] = Flag) -> ColumnElement[bool]:
    """Say of a flag whether a reader waits for it."""
    return and_(flag.cleared_at.is_(None), flag.answered_at.is_(None))
