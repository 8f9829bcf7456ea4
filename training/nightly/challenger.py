"""The challenger of a night: fitted on the snapshot, from the champion's weights or from nothing, and registered.

Its folder below the bundles directory is its name; a fit that is broken off
lies beside it in ``<name>.partial`` and is gone on with from its last epoch.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from sqlalchemy import select

from bundle.errors import BundleRefused
from bundle.load import locate
from bundle.manifest import WEIGHTS, IntendedUse
from bundle.signing import trusted_keys
from bundle.store import verify
from core import failpoints
from core.errors import TransientFailure
from core.files import make_directories, write_durably
from core.settings import Settings
from db.models.dataset import DataSet
from db.models.model import ModelVersion
from db.vocabulary import LabelOrigin, NightKind
from training.bundling.build import Order, Parent, Source, build_from
from training.fitting.recipe import HardenedRecipe
from training.fitting.run import PROGRESS
from training.nightly.keeping import Keeper
from training.nightly.promotion import admit
from training.nightly.snapshot.manifest import Manifest, path_of
from training.nightly.snapshot.material import material
from training.nightly.tonight import Tonight

NAME: Final = "nightly"
_POPULATION: Final = (
    "Patients of the site that trained it and of the data sets imported there, within the ages and views below; see "
    "data."
)
_AT_ONE_SITE: Final = (
    "Trained and judged at one site: expect other figures elsewhere. What is said here of other data was said of the "
    "model that was champion when it was trained."
)


def folder(version: str) -> str:
    """Return a challenger's location below the bundles directory."""
    return f"{NAME}-{version}"


@dataclass(frozen=True)
class Fit:
    """What is to be fitted.

    Attributes
    ----------
    work : str
        ISO date of the night that the fit began in: its version.
    manifest : Manifest
        The snapshot that it began with.
    champion : ModelVersion
        Whose weights a fine-tuning starts from.
    """

    kind: NightKind
    work: str
    manifest: Manifest
    champion: ModelVersion


def train(tonight: Tonight, keeper: Keeper, fit: Fit) -> int:
    """Fit a challenger, or go on with it, and return its row in the registry. Safe to repeat.

    Raises
    ------
    FitFailed, DatasetError, BundleRefused
        If it cannot be fitted.
    OutOfTime, Stopped, NightLost
        What the last epoch came to is kept.
    """
    settings = tonight.settings
    location = folder(fit.work)
    recipe = tonight.recipes(date.fromisoformat(fit.work))[fit.kind]
    order = Order(
        recipe,
        path_of(settings.data_dir.resolve(), fit.manifest.digest),
        settings.bundles / location,
        NAME,
        fit.work,
        settings.nightly_sensitivity,
        parent=_parent(settings, fit.champion, recipe) if fit.kind is NightKind.FINE_TUNE else None,
    )
    # a bundle is whole or not there
    if not order.out.exists():
        found = material(settings, fit.manifest)
        source = Source(
            found.dataset,
            found.assignment,
            f"snapshot {fit.manifest.digest[:12]}",
            _attribution(tonight, fit),
            inherited_use(fit.champion),
            # patients go by their digests already
            str,
        )
        try:
            build_from(order, source, tonight.key, tonight.now, keeper)
        except BundleRefused:
            # another holder of the night may have written it meanwhile; admitting verifies it
            if not order.out.exists():
                raise
        failpoints.reach("nightly.bundle_written")
    return admit(settings, tonight.sessions, location)


def partial(bundles: Path, work: str) -> Path:
    """Return where a fit that is broken off lies."""
    return bundles / f"{folder(work)}.partial"


def _attribution(tonight: Tonight, fit: Fit) -> str:
    """Say what it was trained on: this site's studies, imported data sets, and what its parent says."""
    words = [f"Trained at a site of Lungwatch on {len(fit.manifest.pictures)} labelled pictures."]
    if any(picture.origin is LabelOrigin.IMPORTED for picture in fit.manifest.pictures):
        with tonight.readers() as session:
            words += sorted({f"Imported: {one.origin}" for one in session.scalars(select(DataSet))})
    if fit.kind is NightKind.FINE_TUNE:
        words.append(
            f"Fine-tuned from {fit.champion.name} {fit.champion.version}: {fit.champion.manifest['attribution']}"
        )
    return " ".join(words)


def inherited_use(champion: ModelVersion) -> IntendedUse:
    """Return the champion's, of this site's patients: what it is for and cannot do does not change by learning.

    The site's studies came through the champion's ages and views, so they are no others.
    """
    use = IntendedUse.model_validate(champion.manifest["intended_use"])
    limits = (*(limit for limit in use.limits if limit != _AT_ONE_SITE), _AT_ONE_SITE)
    return use.model_copy(update={"population": _POPULATION, "limits": limits})


def put_away(bundles: Path, work: str, folder: Path) -> None:
    """Keep what the epochs came to, and remove the working folder of a fit whose bundle is registered.

    Raises
    ------
    TransientFailure
        If the disk refuses.
    """
    left = partial(bundles, work)
    try:
        content = (left / PROGRESS).read_bytes()
        make_directories(folder)
        write_durably(folder / PROGRESS, content)
    except FileNotFoundError:
        pass
    except OSError as error:
        message = f"{folder} cannot be written (errno {error.errno}); check space and permissions"
        raise TransientFailure(message) from error
    shutil.rmtree(left, ignore_errors=True)


def clear_away(settings: Settings, keep: str | None) -> None:
    """Remove what broken off fits of other nights left."""
    if settings.bundles.is_dir():
        for left in settings.bundles.glob(f"{NAME}-*.partial"):
            if keep is None or left != partial(settings.bundles, keep):
                shutil.rmtree(left, ignore_errors=True)


def same_network(champion: ModelVersion, recipe: HardenedRecipe) -> bool:
    """Whether a fit by the recipe could start from the champion's weights and be shown what it was shown."""
    return (champion.architecture, champion.preprocess_digest) == (recipe.architecture, recipe.spec.digest())


def _parent(settings: Settings, champion: ModelVersion, recipe: HardenedRecipe) -> Parent:
    directory: Path = locate(champion.location, settings.bundles)
    bundle = verify(directory, champion.bundle_digest, trusted_keys(settings))

    def network() -> object:
        from bundle import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

        return keras.network(recipe.architecture, bundle.files[WEIGHTS])

    return Parent(bundle.digest, network)
