"""Which patients a model has seen through its weights: its own, and those of every bundle it was fine-tuned from."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from bundle.errors import BundleRefused
from bundle.load import locate
from bundle.manifest import FITTED_PATIENTS
from bundle.signing import trusted_keys
from bundle.store import verify
from core.settings import Settings
from db.models.model import ModelVersion


def ancestry(settings: Settings, session: Session, model_version_id: int) -> dict[str, frozenset[str] | None]:
    """Read the patients of a model and of all its ancestors from their verified bundles.

    Parameters
    ----------
    session : Session
        To read the registry, which knows where a parent's bundle lies.

    Returns
    -------
    dict of str to frozenset of str, or None
        Keyed digests of the patients fitted on, by the bundle's digest. None where the bundle is not registered, gone,
        or does not verify: whom it was fitted on is then unknown, and so are its own ancestors.

    Raises
    ------
    Misconfigured
        If a trusted key cannot be read.
    """
    keys = trusted_keys(settings)
    found: dict[str, frozenset[str] | None] = {}
    waiting = [session.get_one(ModelVersion, model_version_id).bundle_digest]
    while waiting:
        digest = waiting.pop()
        if digest in found:
            continue
        found[digest] = None
        row = session.scalars(select(ModelVersion).where(ModelVersion.bundle_digest == digest)).first()
        if row is None:
            continue
        try:
            bundle = verify(locate(row.location, settings.bundles), digest, keys)
        except BundleRefused:
            continue
        found[digest] = frozenset(bundle.files[FITTED_PATIENTS].decode("ascii").split())
        if bundle.manifest.parent is not None:
            waiting.append(bundle.manifest.parent)
        waiting += bundle.manifest.data.ancestors
    return found
