"""The registry of models and the champion among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import LungwatchError, Misconfigured
from db.base import database_now
from db.inserting import insert
from db.models.model import Champion, ChampionChange, ModelVersion
from db.vocabulary import ChangeKind, ModelOrigin

# who installs the first champion: a worker, and nobody in particular
_NOBODY: Final = "lungwatch"


class ModelClash(Misconfigured):
    """Another bundle is registered under this name and version."""


class ChampionMoved(LungwatchError):
    """Somebody else changed the champion in between; look again before promoting."""


@dataclass(frozen=True, slots=True)
class NewModel:
    """What the registry keeps of a verified bundle.

    Attributes
    ----------
    name, version : str
        Together unique.
    origin : ModelOrigin
        Where it came from.
    bundle_digest : str
        SHA-256 of manifest.json, which lists every file's.
    location : str
        Directory below the bundles directory, or ``starter``.
    architecture, preprocess_digest : str
        From the manifest.
    threshold : float
        Operating point, on the score.
    manifest : dict
        manifest.json as data.
    """

    name: str
    version: str
    origin: ModelOrigin
    bundle_digest: str
    location: str
    architecture: str
    preprocess_digest: str
    threshold: float
    manifest: dict[str, Any]

    @classmethod
    def of(cls, manifest: Mapping[str, Any], *, origin: ModelOrigin, bundle_digest: str, location: str) -> Self:
        """Take what the registry keeps from a verified manifest as data."""
        return cls(
            name=manifest["name"],
            version=manifest["version"],
            origin=origin,
            bundle_digest=bundle_digest,
            location=location,
            architecture=manifest["architecture"],
            preprocess_digest=manifest["preprocess_digest"],
            threshold=manifest["operating_point"]["threshold"],
            manifest=dict(manifest),
        )


@dataclass(frozen=True, slots=True)
class Reign:
    """The champion and since when.

    Attributes
    ----------
    fencing_token : int
        What a promotion must name; another after each change of champion or anchor.
    anchor_id : int
        The best model there ever was, which a challenger is held against as well; the champion where none was named.
    """

    model: ModelVersion
    fencing_token: int
    since: datetime
    anchor_id: int


def register(session: Session, new: NewModel) -> ModelVersion:
    """Enter a bundle, or return the row it has already.

    Raises
    ------
    ModelClash
        If the name and version belong to a bundle with another digest.
    """
    values = {
        "name": new.name,
        "version": new.version,
        "origin": new.origin,
        "bundle_digest": new.bundle_digest,
        "location": new.location,
        "architecture": new.architecture,
        "preprocess_digest": new.preprocess_digest,
        "threshold": new.threshold,
        "manifest": new.manifest,
        "registered_at": database_now(),
    }
    session.execute(insert(session, ModelVersion).values(values).on_conflict_do_nothing())
    found = session.scalars(select(ModelVersion).where(ModelVersion.bundle_digest == new.bundle_digest)).first()
    if found is None:
        message = f"model {new.name} {new.version} is registered with another digest; give the new bundle a new version"
        raise ModelClash(message)
    return found


def models(session: Session) -> list[ModelVersion]:
    """Return every registered model, oldest first."""
    return list(session.scalars(select(ModelVersion).order_by(ModelVersion.id)))


def find(session: Session, version: str, name: str | None = None) -> ModelVersion | None:
    """Return a model by its version, or by version and name; the newest where a version has several names."""
    query = select(ModelVersion).where(ModelVersion.version == version).order_by(ModelVersion.id.desc())
    if name is not None:
        query = query.where(ModelVersion.name == name)
    return session.scalars(query.limit(1)).first()


def champion(session: Session) -> Reign | None:
    """Return the model in service, None before the first was installed."""
    row = session.execute(
        select(ModelVersion, Champion.fencing_token, Champion.since, Champion.anchor_id).join(
            Champion, Champion.model_version_id == ModelVersion.id
        )
    ).first()
    return None if row is None else Reign(row[0], row[1], row[2], row[0].id if row[3] is None else row[3])


def anchor(session: Session) -> ModelVersion | None:
    """Return the best model there ever was: the champion where none was named, None where there is no champion."""
    reign = champion(session)
    return None if reign is None else session.get_one(ModelVersion, reign.anchor_id)


def install_champion_if_none(session: Session, model_version_id: int) -> bool:
    """Make a model champion unless there is one already; safe from many workers at once."""
    row = session.execute(
        insert(session, Champion)
        .values(id=1, model_version_id=model_version_id, fencing_token=1, since=database_now())
        .on_conflict_do_nothing()
        .returning(Champion.id)
    ).first()
    if row is None:
        return False
    _note(session, ChangeKind.INSTALLED, None, model_version_id, 1, model_version_id, _NOBODY, "there was no champion")
    return True


def promote(
    session: Session,
    model_version_id: int,
    expected_token: int,
    *,
    kind: ChangeKind,
    actor: str,
    reason: str,
    nightly_run_id: int | None = None,
    becomes_anchor: bool = False,
) -> int:
    """Replace the champion if it is still the one the caller looked at, and note who did it and why.

    Unless the new champion becomes the anchor, the anchor stays where it is: where none was named it was the old
    champion, and is that from now on. So a model that is rolled back stays what the next must be held against.

    Parameters
    ----------
    kind : ChangeKind
        PROMOTED or ROLLED_BACK.

    Returns
    -------
    int
        The new fencing token.

    Raises
    ------
    ChampionMoved
        If the token has moved on (or there is no champion to replace).
    """
    old = _looked_at(session, expected_token)
    anchor_id = model_version_id if becomes_anchor else old.anchor_id
    return _change(session, old, kind, model_version_id, anchor_id, actor, reason, nightly_run_id)


def name_anchor(session: Session, model_version_id: int, expected_token: int, *, actor: str, reason: str) -> int:
    """Name another anchor if champion and anchor are still those the caller looked at; the champion stays.

    The fencing token moves on, so that nothing is promoted by a decision that was made against the old anchor.

    Returns
    -------
    int
        The new fencing token.

    Raises
    ------
    ChampionMoved
        If the token has moved on (or there is no champion).
    """
    old = _looked_at(session, expected_token)
    return _change(session, old, ChangeKind.ANCHORED, old.model.id, model_version_id, actor, reason, None)


def _looked_at(session: Session, expected_token: int) -> Reign:
    reign = champion(session)
    if reign is None or reign.fencing_token != expected_token:
        raise _moved()
    return reign


def _change(  # noqa: PLR0917 - a row's worth
    session: Session,
    old: Reign,
    kind: ChangeKind,
    model_version_id: int,
    anchor_id: int,
    actor: str,
    reason: str,
    nightly_run_id: int | None,
) -> int:
    """Swap under the token and write the row of it, in the caller's transaction."""
    since = {} if model_version_id == old.model.id else {"since": database_now()}
    row = session.execute(
        update(Champion)
        .where(Champion.id == 1, Champion.fencing_token == old.fencing_token)
        .values(model_version_id=model_version_id, anchor_id=anchor_id, fencing_token=old.fencing_token + 1, **since)
        .returning(Champion.fencing_token)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        raise _moved()
    token = int(row[0])
    _note(session, kind, old.model.id, model_version_id, token, anchor_id, actor, reason, nightly_run_id)
    return token


def _note(  # noqa: PLR0917 - a row
    session: Session,
    kind: ChangeKind,
    old_id: int | None,
    new_id: int,
    fencing_token: int,
    anchor_id: int,
    actor: str,
    reason: str,
    nightly_run_id: int | None = None,
) -> None:
    # a statement, not an object: a flush would want the tables that a worker has no use for, as of the nightly job
    session.execute(
        insert(session, ChampionChange).values(
            kind=kind,
            old_model_version_id=old_id,
            new_model_version_id=new_id,
            fencing_token=fencing_token,
            anchor_id=anchor_id,
            nightly_run_id=nightly_run_id,
            actor=actor,
            reason=reason,
            changed_at=database_now(),
        )
    )


def _moved() -> ChampionMoved:
    return ChampionMoved("the champion changed since it was looked at; look again with `lungwatch models list`")
