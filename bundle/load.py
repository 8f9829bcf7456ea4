"""From a directory to a model in service: verify, build, check. The one way in for worker, predict and evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bundle import checks, familiarity, head
from bundle.errors import BundleRefused
from bundle.familiarity import Familiarity
from bundle.head import Head
from bundle.manifest import CHECKS, FAMILIARITY, HEAD, LITERT, WEIGHTS, Manifest
from bundle.runtime import KerasOptions, Runtime, choose
from bundle.signing import trusted_keys
from bundle.store import VerifiedBundle, verify
from core.errors import Misconfigured
from core.settings import RuntimeChoice, Settings
from imaging.spec import PreprocessSpec

STARTER: Final = Path(__file__).with_name("starter")
STARTER_LOCATION: Final = "starter"


@dataclass(frozen=True)
class LoadedModel:
    """A model that passed every check.

    Attributes
    ----------
    digest : str
        The bundle's, as the registry knows it.
    spec : PreprocessSpec
        How masters become its input.
    runtime : Runtime
        What scores.
    familiarity : Familiarity or None
        What measures how unlike the training data an image is; the threshold is the manifest's.
    head : Head or None
        What makes a heatmap of the runtime's features.
    """

    digest: str
    manifest: Manifest
    spec: PreprocessSpec
    runtime: Runtime
    familiarity: Familiarity | None = None
    head: Head | None = None


def locate(location: str, bundles: Path) -> Path:
    """Return the directory of a registry row's `location`: ``starter``, or a name below the bundles directory.

    Raises
    ------
    BundleRefused
        If the location leads out of the bundles directory.
    """
    if location == STARTER_LOCATION:
        return STARTER
    if not location or Path(location).name != location or location.startswith("."):
        raise BundleRefused(f"the registry's location {location!r} is no plain name below {bundles}")
    return bundles / location


def load(
    directory: Path,
    choice: RuntimeChoice,
    expected_digest: str | None,
    keys: Sequence[Ed25519PublicKey],
    threads: int = 1,
    *,
    options: KerasOptions = KerasOptions(),  # noqa: B008 - frozen
) -> LoadedModel:
    """Verify a bundle, bring its network up in a runtime, and compare the scores it was shipped with.

    Parameters
    ----------
    choice : RuntimeChoice
        AUTO takes TensorFlow where a GPU is visible, else LiteRT.
    expected_digest : str or None
        From the registry; None where there is no row.
    threads : int
        LiteRT's.
    options : KerasOptions
        Keras'.

    Raises
    ------
    BundleRefused
        Whatever is wrong; nothing was put in service.
    Misconfigured
        If an option cannot be met here.
    """
    return bring_up(verify(directory, expected_digest, keys), choice, threads, options)


def bring_up(
    bundle: VerifiedBundle,
    choice: RuntimeChoice,
    threads: int = 1,
    options: KerasOptions = KerasOptions(),  # noqa: B008 - frozen
) -> LoadedModel:
    """Bring a verified bundle's network up in a runtime and compare the scores it was shipped with; see `load`."""
    manifest = bundle.manifest
    try:
        spec = PreprocessSpec.from_dict(manifest.preprocess)
    except Misconfigured as error:
        raise BundleRefused(f"bundle {bundle.directory}: {error}") from error
    if spec.digest() != manifest.preprocess_digest:
        raise BundleRefused(f"bundle {bundle.directory}: its preprocessing is not the one its digest names")
    runtime: Runtime
    if choose(choice) is RuntimeChoice.KERAS:
        from bundle.keras import KerasRuntime  # noqa: PLC0415 - LiteRT must not import TensorFlow

        runtime = KerasRuntime(
            manifest.architecture, bundle.files[WEIGHTS], manifest.positive_column, len(manifest.labels), options
        )
    else:
        from bundle.litert import LiteRTRuntime  # noqa: PLC0415 - likewise

        runtime = LiteRTRuntime(bundle.files[LITERT], threads, manifest.positive_column, len(manifest.labels))
    known = None if FAMILIARITY not in bundle.files else familiarity.decode(bundle.files[FAMILIARITY])
    last = None if HEAD not in bundle.files else head.decode(bundle.files[HEAD])
    checks.compare(checks.decode(bundle.files[CHECKS]), spec, runtime, last)
    return LoadedModel(bundle.digest, manifest, spec, runtime, known, last)


def load_for(settings: Settings, directory: Path, expected_digest: str | None) -> LoadedModel:
    """`load` with what the settings say."""
    return bring_up_for(settings, verify(directory, expected_digest, trusted_keys(settings)))


def bring_up_for(settings: Settings, bundle: VerifiedBundle) -> LoadedModel:
    """`bring_up` with what the settings say."""
    return bring_up(bundle, settings.runtime, settings.runtime_threads, KerasOptions.from_settings(settings))
