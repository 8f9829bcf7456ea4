"""Which model a command means: the starter, a bundle's folder, the champion, or a registered version."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bundle.load import STARTER, STARTER_LOCATION, LoadedModel, bring_up_for, locate
from bundle.manifest import FITTED_PATIENTS
from bundle.signing import trusted_keys
from bundle.store import VerifiedBundle, verify
from core.errors import Misconfigured
from core.settings import Settings

CHAMPION: Final = "champion"
HELP: Final = "starter, champion, a registered version, or the folder of a bundle."


def find(settings: Settings, model: str) -> VerifiedBundle:
    """Find and verify the bundle a person named.

    Parameters
    ----------
    model : str
        ``starter``, ``champion``, a version in the registry, or a folder.
        Only the middle two open the ledger.

    Raises
    ------
    BundleRefused
        If the bundle does not verify.
    Misconfigured
        If nothing goes by that name.
    """
    keys = trusted_keys(settings)
    if model == STARTER_LOCATION:
        return verify(STARTER, None, keys)
    if (folder := Path(model)).is_dir():
        return verify(folder.resolve(), None, keys)
    if "/" in model:
        raise Misconfigured(f"there is no bundle at {model}")
    location, digest = _registered(model)
    return verify(locate(location, settings.bundles), digest, keys)


def load(settings: Settings, model: str) -> tuple[LoadedModel, frozenset[str]]:
    """Find, verify and bring up a model; returned with the keyed digests of the patients it was fitted on."""
    verified = find(settings, model)
    fitted = frozenset(verified.files[FITTED_PATIENTS].decode("ascii").split())
    return bring_up_for(settings, verified), fitted


def champion_or_starter(settings: Settings) -> str:
    """Return ``champion`` where this installation's ledger has one, else ``starter``: a fresh clone has no ledger."""
    from cli.ledger import has_ledger, open_ledger  # noqa: PLC0415 - most calls need no database

    if not has_ledger(settings):
        return STARTER_LOCATION
    from db.registry import champion  # noqa: PLC0415 - likewise

    with open_ledger() as ledger, ledger.read() as session:
        return STARTER_LOCATION if champion(session) is None else CHAMPION


def _registered(model: str) -> tuple[str, str]:
    from cli.ledger import open_ledger  # noqa: PLC0415 - most calls need no database
    from db.registry import champion, find  # noqa: PLC0415 - likewise

    with open_ledger() as ledger, ledger.read() as session:
        if model == CHAMPION:
            reign = champion(session)
            row = None if reign is None else reign.model
        else:
            row = find(session, model)
        if row is None:
            raise Misconfigured(f"no model {model!r} is registered, and it is no folder; see lungwatch models list")
        return row.location, row.bundle_digest
