"""A bundle on its way into the registry and into service (fault rows 24 to 26 and 34; promises 11 and 12)."""

from __future__ import annotations

import io
import pickle
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker

from bundle.errors import BundleRefused
from bundle.manifest import CHECKS, LITERT, MANIFEST, SIGNATURE, WEIGHTS
from core.settings import Settings
from db.champion_history import history
from db.models.model import ModelVersion
from db.registry import ChampionMoved, ModelClash, champion, models
from db.vocabulary import ChangeKind, ModelOrigin
from tests.factories.bundles import make_bundle, make_key, starter, write_public
from training.nightly.promotion import admit, raise_champion
from worker.serving import install_starter

Sessions = sessionmaker[Session]


@pytest.fixture
def site(ledger_settings: Settings, sessions: Sessions, tmp_path: Path) -> Settings:
    """An installation that trusts the key of `make_key`, with the starter in service."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "site.pem")
    settings = ledger_settings.model_copy(update={"trusted_keys_dir": keys})
    with sessions.begin() as session:
        install_starter(settings, session)
    return settings


def admitted(site: Settings, sessions: Sessions, version: str) -> int:
    make_bundle(site.bundles / f"n-{version}", version=version)
    return admit(site, sessions, f"n-{version}")


def promote(site: Settings, sessions: Sessions, model: int, token: int = 1) -> int:
    return raise_champion(site, sessions, model, token, kind=ChangeKind.PROMOTED, actor="nightly", reason="a test")


def in_service(sessions: Sessions) -> tuple[str, int]:
    """Return the champion's version and the fencing token, which must be that of the last change."""
    with sessions() as session:
        reign = champion(session)
        assert reign is not None
        assert (history(session)[0].new_model_version_id, history(session)[0].fencing_token) == (
            reign.model.id,
            reign.fencing_token,
        )
        return reign.model.version, reign.fencing_token


def spoil(path: Path, content: bytes | None = None) -> None:
    """Flip a bit of a file, or give it another content."""
    if content is None:
        found = bytearray(path.read_bytes())
        found[len(found) // 2] ^= 1
        content = bytes(found)
    path.write_bytes(content)


def payload(canary: Path) -> bytes:
    """Return a checks.npz that makes the file `canary` if somebody unpickles it."""

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (canary,))

    stream = io.BytesIO()
    np.savez(stream, masters=np.array([Payload()], dtype=object), scores=np.zeros(1, np.float32))
    pickle.loads(pickle.dumps(Payload()))  # noqa: S301 - shows that the payload would work
    assert canary.exists()
    canary.unlink()
    return stream.getvalue()


def test_a_written_bundle_is_registered_once_and_raised(site: Settings, sessions: Sessions) -> None:
    model = admitted(site, sessions, "a")
    assert admit(site, sessions, "n-a") == model
    with sessions() as session:
        row = session.get_one(ModelVersion, model)
    assert (row.name, row.version, row.origin, row.location) == ("test", "a", ModelOrigin.TRAINED, "n-a")
    assert row.threshold == starter().manifest.operating_point.threshold
    assert row.manifest["preprocess_digest"] == row.preprocess_digest
    assert in_service(sessions) == (starter().manifest.version, 1)
    assert promote(site, sessions, model) == 2
    assert in_service(sessions) == ("a", 2)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: spoil(folder / LITERT),
        lambda folder: spoil(folder / WEIGHTS, (folder / WEIGHTS).read_bytes()[:-100]),
        lambda folder: spoil(folder / MANIFEST),
        lambda folder: (folder / SIGNATURE).unlink(),
        shutil.rmtree,
    ],
)
def test_rows_24_25_what_is_corrupt_or_missing_is_not_registered(
    site: Settings, sessions: Sessions, harm: Callable[[Path], object]
) -> None:
    folder = site.bundles / "n-a"
    make_bundle(folder, version="a")
    harm(folder)
    with pytest.raises(BundleRefused, match=r"n-a"):
        admit(site, sessions, "n-a")
    with sessions() as session:
        assert [model.version for model in models(session)] == [starter().manifest.version]


def test_row_26_a_bundle_of_another_key_is_not_registered(site: Settings, sessions: Sessions, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    make_bundle(site.bundles / "n-a", make_key(2), version="a", files={CHECKS: payload(canary)})
    with pytest.raises(BundleRefused, match="no signature of a trusted key"):
        admit(site, sessions, "n-a")
    assert not canary.exists()
    with sessions() as session:
        assert len(models(session)) == 1


def test_a_signed_bundle_that_computes_something_else_is_not_registered(site: Settings, sessions: Sessions) -> None:
    # PNEUMONIA is read off the wrong column, and nothing else is changed
    make_bundle(site.bundles / "n-a", version="a", labels=("PNEUMONIA", "NORMAL"))
    with pytest.raises(BundleRefused, match="expected scores"):
        admit(site, sessions, "n-a")


def test_rows_24_25_26_what_is_altered_after_it_was_registered_is_not_raised(
    site: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    harms: dict[str, Callable[[Path], object]] = {
        "flipped": lambda folder: spoil(folder / LITERT),
        "weights": lambda folder: spoil(folder / WEIGHTS),
        "missing": shutil.rmtree,
        "payload": lambda folder: spoil(folder / CHECKS, payload(canary)),
        # sound and signed by us, and not the one that the gate saw
        "exchanged": lambda folder: (shutil.rmtree(folder), make_bundle(folder, version="other")),
    }
    for version, harm in harms.items():
        model = admitted(site, sessions, version)
        harm(site.bundles / f"n-{version}")
        with pytest.raises(BundleRefused):
            promote(site, sessions, model)
        assert in_service(sessions) == (starter().manifest.version, 1)
    assert not canary.exists()


def test_another_bundle_under_the_same_version_is_refused(site: Settings, sessions: Sessions) -> None:
    model = admitted(site, sessions, "a")
    make_bundle(site.bundles / "n-b", version="a", attribution="another")
    with pytest.raises(ModelClash, match="test a"):
        admit(site, sessions, "n-b")
    shutil.copytree(site.bundles / "n-a", site.bundles / "copy")
    with pytest.raises(BundleRefused, match="registered already, in n-a"):
        admit(site, sessions, "copy")
    assert admit(site, sessions, "n-a") == model


@pytest.mark.parametrize("location", ["../elsewhere", "", ".hidden"])
def test_a_bundle_elsewhere_is_refused(site: Settings, sessions: Sessions, location: str) -> None:
    with pytest.raises(BundleRefused, match="no plain name"):
        admit(site, sessions, location)


def test_promoters_at_once_raise_one_model(site: Settings, sessions: Sessions) -> None:
    rivals = [admitted(site, sessions, version) for version in "ab"]
    ready = threading.Barrier(len(rivals))

    def work(model: int) -> int | None:
        ready.wait()
        try:
            return promote(site, sessions, model)
        except ChampionMoved:
            return None

    with ThreadPoolExecutor(len(rivals)) as pool:
        said = list(pool.map(work, rivals))
    assert sorted(said, key=str) == [2, None]
    assert in_service(sessions) == ("ab"[said.index(2)], 2)
    # whoever was held up since and still has the old token
    with pytest.raises(ChampionMoved):
        promote(site, sessions, rivals[said.index(None)])


def test_what_belongs_to_a_promotion_is_done_with_it_or_neither(site: Settings, sessions: Sessions) -> None:
    model = admitted(site, sessions, "a")

    def raise_it(besides: Callable[[Session], object]) -> int:
        return raise_champion(
            site, sessions, model, 1, kind=ChangeKind.PROMOTED, actor="nightly", reason="a test", besides=besides
        )

    def refuse(session: Session) -> None:
        reign = champion(session)
        assert reign is not None
        assert reign.model.id == model
        message = "the night is another's"
        raise ChampionMoved(message)

    with pytest.raises(ChampionMoved, match="another's"):
        raise_it(refuse)
    assert in_service(sessions) == (starter().manifest.version, 1)
    seen: list[bool] = []
    assert raise_it(lambda session: seen.append(session.in_transaction())) == 2
    assert seen == [True]
