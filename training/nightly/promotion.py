"""A bundle into the registry, and a model of the registry onto the champion's place; never one that does not verify.

Whoever is killed in between leaves a bundle that is registered or not, and one
champion, the old or the new: each is one transaction, and both may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from bundle.errors import BundleRefused
from bundle.load import LoadedModel, load_for, locate
from core import failpoints, logging
from core.settings import Settings
from db.models.model import ModelVersion
from db.registry import NewModel, promote, register
from db.vocabulary import ChangeKind, ModelOrigin

log: Final = logging.get(__name__)


def admit(settings: Settings, sessions: sessionmaker[Session], location: str) -> int:
    """Verify a bundle whole and enter it into the registry; entering it again changes nothing.

    Parameters
    ----------
    location : str
        Its directory below the bundles directory.

    Returns
    -------
    int
        Its row in the registry.

    Raises
    ------
    BundleRefused
        If signature, a digest or the scores it must give are wrong.
    ModelClash
        If another bundle has its name and version.
    """
    loaded = load_for(settings, locate(location, settings.bundles), None)
    new = NewModel.of(
        loaded.manifest.model_dump(mode="json"),
        origin=ModelOrigin.TRAINED,
        bundle_digest=loaded.digest,
        location=location,
    )
    with sessions.begin() as session:
        row = register(session, new)
        if row.location != location:
            raise BundleRefused(
                f"the bundle in {location} is registered already, in {row.location}; name that one, and remove the copy"
            )
    failpoints.reach("promotion.admitted")
    log.info("model_registered", model_version_id=row.id, model=loaded.manifest.title)
    return row.id


def raise_champion(
    settings: Settings,
    sessions: sessionmaker[Session],
    model_version_id: int,
    expected_token: int,
    *,
    kind: ChangeKind,
    actor: str,
    reason: str,
    nightly_run_id: int | None = None,
    becomes_anchor: bool = False,
    besides: Callable[[Session], object] = lambda _session: None,
) -> int:
    """Verify a registered bundle once more and make it champion, if the champion is still the one that was looked at.

    The bundle is verified before the transaction begins, because a ledger must not be held up for as long as that
    takes. What is altered in the moment between them every worker refuses for itself.

    Parameters
    ----------
    expected_token : int
        The fencing token of the champion that the new one was held against.
    besides : callable
        What else belongs into the transaction; runs after the swap, and if it raises nothing is swapped.

    Returns
    -------
    int
        The new fencing token.

    Raises
    ------
    BundleRefused
        If the bundle is not what was registered.
    ChampionMoved
        If somebody else was quicker.
    """
    with sessions() as session:
        row = session.get_one(ModelVersion, model_version_id)
    open_registered(settings, row)
    failpoints.reach("promotion.verified")
    with sessions.begin() as session:
        token = promote(
            session,
            model_version_id,
            expected_token,
            kind=kind,
            actor=actor,
            reason=reason,
            nightly_run_id=nightly_run_id,
            becomes_anchor=becomes_anchor,
        )
        besides(session)
        failpoints.reach("promotion.swapped")
    failpoints.reach("promotion.committed")
    log.info("champion_changed", kind=kind, model_version_id=model_version_id, fencing_token=token)
    return token


def open_registered(settings: Settings, model: ModelVersion) -> LoadedModel:
    """Verify, load and check a registered bundle.

    Raises
    ------
    BundleRefused
        Whatever is wrong with it.
    """
    return load_for(settings, locate(model.location, settings.bundles), model.bundle_digest)
