"""How the champion came to be who it is: every change of it, and whom a rollback goes back to."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models.model import ChampionChange
from db.vocabulary import ChangeKind


def history(session: Session) -> list[ChampionChange]:
    """Return every change of champion or anchor, newest first."""
    return list(session.scalars(select(ChampionChange).order_by(ChampionChange.fencing_token.desc())))


def change_of(session: Session, nightly_run_id: int) -> ChampionChange | None:
    """Return what a night changed, None where it changed nothing (yet)."""
    return session.scalars(select(ChampionChange).where(ChampionChange.nightly_run_id == nightly_run_id)).first()


def one_before(changes: Iterable[ChampionChange]) -> int | None:
    """Tell from the history whom a rollback goes back to, None where nobody came before.

    Rolling back twice goes back two steps, and not forward again.

    Parameters
    ----------
    changes : iterable of ChampionChange
        As `history` returns them.

    Returns
    -------
    int or None
        The model version.
    """
    reigns: list[int] = []
    for change in sorted(changes, key=lambda one: one.fencing_token):
        new = change.new_model_version_id
        if change.kind is ChangeKind.ANCHORED:
            continue
        if change.kind is ChangeKind.ROLLED_BACK and new in reigns:
            # whoever came after it is undone
            while reigns[-1] != new:
                reigns.pop()
        else:
            reigns.append(new)
    return reigns[-2] if len(reigns) > 1 else None
