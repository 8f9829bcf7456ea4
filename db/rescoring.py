"""Images that a new champion looks at again: queued with the promotion, claimed by workers when nothing new waits.

Claims are as those of receipts (`db.claims`): a lease by the database's clock,
a token that every write names, attempts that are counted before the work. Here
the claim itself counts them, for the whole batch; so that one image that ends
workers does not use up its neighbours' attempts, what was started before is claimed alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Boolean, ColumnElement, and_, func, literal, literal_column, or_, select, tuple_, update
from sqlalchemy.orm import Session

from db.answering import STANDING
from db.base import Words, database_now
from db.claims import LeaseLost
from db.inserting import insert
from db.models.model import Champion
from db.models.prediction import Prediction
from db.models.rescoring import Rescoring
from db.models.study import Image, Study
from db.vocabulary import Outcome, RescoringState, Unscored

# what a model said something of; an image that could not be read has no pixels to score
CLASSIFIED: Final = (Outcome.SUSPECTED, Outcome.NO_RESULT, Outcome.NOT_SUSPECTED)
_AT_ONCE: Final = 400


@dataclass(frozen=True, slots=True)
class Again:
    """One image held under a lease, to be scored again.

    Attributes
    ----------
    rescoring_id, image_id : int
        The row, and the image.
    image_revision, master_digest : int, str or None
        As they were when it was claimed.
    shorter_side : int or None
        Of the original, pixels.
    attempts : int
        Starts before this claim; at the maximum, give it up instead of starting.
    token : str
        What every write under this claim names.
    """

    rescoring_id: int
    image_id: int
    image_revision: int
    master_digest: str | None
    shorter_side: int | None
    attempts: int
    token: str


def queue(session: Session, model_version_id: int, days: float, *, now: datetime | None = None) -> int:
    """Let a model look again at the images of studies that nobody has reviewed; in the promotion's transaction.

    Those are images in force that were classified, of studies of which
    something was received within so many days, and whose present revision no
    verdict answers. What the model has judged already is left out. Repeating it
    adds nothing; what an earlier reign of the model left unscored waits again.

    Parameters
    ----------
    session : Session
        A session that may write.
    model_version_id : int
        The new champion.
    days : float
        0 or less queues nothing.
    now : datetime, optional
        What the days are reckoned back from; by default the database's clock.

    Returns
    -------
    int
        Images that wait now and did not before.
    """
    if days <= 0:
        return 0
    # a value, not the clock itself: PostgreSQL finds by an index only what does not change within the statement
    since = (now or session.scalars(select(database_now())).one()) - timedelta(days=days)
    candidates = (
        select(
            literal(model_version_id),
            Image.id,
            literal(RescoringState.WAITING, Words(RescoringState)),
            literal(0),
            database_now(),
        )
        .join(Study, Study.id == Image.study_id)
        .where(Study.last_received_at >= since, classified(), ~reviewed(), ~_judged_by(model_version_id))
        # the newest first: there a finding changes most
        .order_by(Study.last_received_at.desc(), Image.id)
    )
    columns = ["model_version_id", "image_id", "state", "attempts", "queued_at"]
    statement = (
        insert(session, Rescoring)
        .from_select(columns, candidates)
        .on_conflict_do_update(
            index_elements=["model_version_id", "image_id"],
            set_={
                "state": RescoringState.WAITING,
                "reason": None,
                "token": None,
                "lease_until": None,
                "attempts": 0,
                "queued_at": database_now(),
                "finished_at": None,
            },
            where=Rescoring.state != RescoringState.WAITING,
        )
    )
    session.flush()
    return session.connection().execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def waiting(session: Session) -> int:
    """Return how many images wait to be scored again."""
    return session.scalar(select(func.count()).where(Rescoring.state == RescoringState.WAITING)) or 0


def claim(session: Session, model_version_id: int, limit: int, lease_seconds: float) -> list[Again]:
    """Take up to `limit` images that wait for this model, and count a start of each; commit before working.

    Returns
    -------
    list of Again
        Empty too where the model is not champion (any more).
    """
    rows = session.execute(
        select(
            Rescoring.id,
            Rescoring.attempts,
            Image.id.label("image_id"),
            Image.revision,
            Image.master_digest,
            Image.rows,
            Image.columns,
        )
        .join(Image, Image.id == Rescoring.image_id)
        .where(
            Rescoring.state == RescoringState.WAITING,
            Rescoring.model_version_id == model_version_id,
            _is_champion(model_version_id),
            or_(
                Rescoring.lease_until.is_(None),
                Rescoring.lease_until < database_now(),
                # longer than any lease or delay: the database's clock was set back since
                Rescoring.lease_until > database_now(2 * lease_seconds),
            ),
        )
        .order_by(Rescoring.attempts, Rescoring.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Rescoring)
    ).all()
    rows = [row for row in rows if row.attempts == 0] or rows[:1]
    if not rows:
        return []
    token = secrets.token_hex(16)
    session.execute(
        update(Rescoring)
        .where(Rescoring.id.in_([row.id for row in rows]))
        .values(token=token, lease_until=database_now(lease_seconds), attempts=Rescoring.attempts + 1)
        .execution_options(synchronize_session=False)
    )
    return [
        Again(
            rescoring_id=row.id,
            image_id=row.image_id,
            image_revision=row.revision,
            master_digest=row.master_digest,
            shorter_side=None if row.rows is None or row.columns is None else min(row.rows, row.columns),
            attempts=row.attempts,
            token=token,
        )
        for row in rows
    ]


def skip_superseded(session: Session) -> int:
    """Skip some images that wait for a model which is no longer champion, and return how many."""
    champion = select(Champion.model_version_id).scalar_subquery()
    rows = session.scalars(
        select(Rescoring.id)
        .where(Rescoring.state == RescoringState.WAITING, Rescoring.model_version_id != champion)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        session.execute(
            update(Rescoring)
            .where(Rescoring.id.in_(rows))
            .values(_ended(RescoringState.SKIPPED, Unscored.SUPERSEDED))
            .execution_options(synchronize_session=False)
        )
    return len(rows)


def why_not(session: Session, again: Again, model_version_id: int) -> Unscored | None:
    """Say why a claimed image is not to be scored again after all; None if it is. Hold its study's lock."""
    row = session.execute(
        select(
            _is_champion(model_version_id).label("champion"),
            classified().label("classified"),
            reviewed().label("reviewed"),
            _judged_by(model_version_id).label("judged"),
        )
        .join(Study, Study.id == Image.study_id)
        .where(Image.id == again.image_id)
    ).one()
    if not row.champion:
        return Unscored.SUPERSEDED
    if not row.classified:
        return Unscored.NOT_IN_FORCE
    if row.reviewed:
        return Unscored.REVIEWED
    return Unscored.SCORED if row.judged else None


def finish(session: Session, again: Again, skipped: Unscored | None = None) -> None:
    """Put a claimed image into its terminal state, in the transaction that records what was found.

    Raises
    ------
    LeaseLost
        If the token no longer holds; roll the whole transaction back.
    """
    state = RescoringState.DONE if skipped is None else RescoringState.SKIPPED
    row = session.execute(
        update(Rescoring)
        .where(
            Rescoring.id == again.rescoring_id,
            Rescoring.token == again.token,
            Rescoring.state == RescoringState.WAITING,
        )
        .values(_ended(state, skipped))
        .returning(Rescoring.id)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        message = f"the lease on re-scoring {again.rescoring_id} ended before its work did; another worker has it now"
        raise LeaseLost(message)


def release(session: Session, held: Sequence[Again], *, refund: bool = False, delay_seconds: float = 0.0) -> None:
    """Give claims back unfinished; lost ones are passed over.

    Parameters
    ----------
    refund : bool
        Take back the start: it was cut short by us, not by the image.
    delay_seconds : float
        Nobody may claim them for so long.
    """
    if not held:
        return
    session.execute(
        update(Rescoring)
        .where(
            tuple_(Rescoring.id, Rescoring.token).in_([(one.rescoring_id, one.token) for one in held]),
            Rescoring.state == RescoringState.WAITING,
        )
        .values(
            token=None,
            lease_until=database_now(delay_seconds) if delay_seconds > 0 else None,
            attempts=Rescoring.attempts - 1 if refund else Rescoring.attempts,
        )
        .execution_options(synchronize_session=False)
    )


def reviewed() -> ColumnElement[bool]:
    """Say of the table `study` whether a verdict stands on its present revision."""
    condition = f"EXISTS (SELECT 1 FROM {STANDING} AND n.study_id = study.id AND n.revision = study.revision)"  # noqa: S608 - a constant
    return literal_column(condition, Boolean)


def classified() -> ColumnElement[bool]:
    """Say of the table `image` whether a model has judged the pixels that are in force."""
    return and_(Image.outcome.in_(CLASSIFIED), Image.input_digest.is_not(None), Image.master_digest.is_not(None))


def _judged_by(model_version_id: int) -> ColumnElement[bool]:
    return (
        select(Prediction.id)
        .where(
            Prediction.image_id == Image.id,
            Prediction.image_revision == Image.revision,
            Prediction.model_version_id == model_version_id,
        )
        .exists()
    )


def _is_champion(model_version_id: int) -> ColumnElement[bool]:
    return select(Champion.id).where(Champion.model_version_id == model_version_id).exists()


def _ended(state: RescoringState, reason: Unscored | None) -> dict[str, object]:
    return {
        "state": state,
        "reason": reason,
        "token": None,
        "lease_until": None,
        "finished_at": database_now(),
    }
