"""The registry of models and the champion among them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import LungwatchError, Misconfigured
from db.base import database_now
from db.inserting import insert
from db.models.model import Champion, ModelVersion
from db.vocabulary import ModelOrigin


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


@dataclass(frozen=True, slots=True)
class Reign:
    """The champion and since when; `fencing_token` is what a promotion must name."""

    model: ModelVersion
    fencing_token: int
    since: datetime


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
        select(ModelVersion, Champion.fencing_token, Champion.since).join(
            Champion, Champion.model_version_id == ModelVersion.id
        )
    ).first()
    return None if row is None else Reign(row[0], row[1], row[2])


def install_champion_if_none(session: Session, model_version_id: int) -> bool:
    """Make a model champion unless there is one already; safe from many workers at once."""
    row = session.execute(
        insert(session, Champion)
        .values(id=1, model_version_id=model_version_id, fencing_token=1, since=database_now())
        .on_conflict_do_nothing()
        .returning(Champion.id)
    ).first()
    return row is not None


def promote(session: Session, model_version_id: int, expected_token: int) -> int:
    """Replace the champion if it is still the one the caller looked at.

    Returns
    -------
    int
        The new fencing token.

    Raises
    ------
    ChampionMoved
        If the token has moved on (or there is no champion to replace).
    """
    row = session.execute(
        update(Champion)
        .where(Champion.id == 1, Champion.fencing_token == expected_token)
        .values(model_version_id=model_version_id, fencing_token=expected_token + 1, since=database_now())
        .returning(Champion.fencing_token)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        message = "the champion changed since it was looked at; look again with `lungwatch models list`"
        raise ChampionMoved(message)
    return int(row[0])
