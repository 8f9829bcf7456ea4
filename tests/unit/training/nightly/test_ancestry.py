from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from bundle.manifest import FITTED_PATIENTS
from core.settings import Settings
from db.base import make_sessions
from tests.factories.bundles import make_bundle, make_key, starter, write_public
from training.nightly.ancestry import ancestry
from training.nightly.promotion import admit
from worker.serving import install_starter

Make = Callable[..., tuple[int, str]]


@pytest.fixture
def site(sqlite_settings: Settings, tmp_path: Path) -> Settings:
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "site.pem")
    return sqlite_settings.model_copy(update={"trusted_keys_dir": keys})


@pytest.fixture
def ledger(site: Settings, sqlite_engine: Engine) -> sessionmaker[Session]:
    sessions = make_sessions(sqlite_engine)
    with sessions.begin() as session:
        install_starter(site, session)
    return sessions


@pytest.fixture
def make(site: Settings, ledger: sessionmaker[Session]) -> Make:
    """Make and register a bundle fitted on these patients; returns its row and its digest."""

    def build(name: str, patients: str, **fields: object) -> tuple[int, str]:
        files = {FITTED_PATIENTS: "".join(f"{patient}\n" for patient in patients.split()).encode()}
        digest = make_bundle(site.bundles / name, version=name, files=files, **fields)
        return admit(site, ledger, name), digest

    return build


def test_a_model_from_scratch_has_its_own_patients(site: Settings, ledger: sessionmaker[Session], make: Make) -> None:
    model, digest = make("a", "aa bb")
    with ledger() as session:
        assert ancestry(site, session, model) == {digest: frozenset({"aa", "bb"})}


def test_the_whole_line_is_walked_to_the_starter(site: Settings, ledger: sessionmaker[Session], make: Make) -> None:
    _, first = make("a", "aa", parent=starter().digest)
    _, second = make("b", "bb", parent=first)
    model, third = make("c", "cc", parent=second)
    make("d", "dd", parent=third)
    fitted = frozenset(starter().files[FITTED_PATIENTS].decode().split())
    with ledger() as session:
        assert ancestry(site, session, model) == {
            third: frozenset({"cc"}),
            second: frozenset({"bb"}),
            first: frozenset({"aa"}),
            starter().digest: fitted,
        }
    assert len(fitted) > 1000


def test_ancestors_that_a_manifest_lists_are_walked_too(
    site: Settings, ledger: sessionmaker[Session], make: Make
) -> None:
    _, first = make("a", "aa")
    _, second = make("b", "bb")
    data = starter().manifest.data.model_dump()
    model, third = make("c", "cc", parent=first, data={**data, "ancestors": (first, second)})
    with ledger() as session:
        assert set(ancestry(site, session, model)) == {first, second, third}


@pytest.mark.parametrize("harm", ["gone", "altered", "unregistered", "untrusted"])
def test_what_is_not_known_is_none_and_not_left_out(
    site: Settings, ledger: sessionmaker[Session], make: Make, tmp_path: Path, harm: str
) -> None:
    _, parent = make("a", "aa") if harm != "unregistered" else (0, "0" * 64)
    model, child = make("b", "bb", parent=parent)
    match harm:
        case "gone":
            shutil.rmtree(site.bundles / "a")
        case "altered":
            (site.bundles / "a" / FITTED_PATIENTS).write_text("zz\n")
        case "untrusted":
            write_public(make_key(3), tmp_path / "keys" / "site.pem")
    with ledger() as session:
        found = ancestry(site, session, model)
    if harm == "untrusted":
        # and whom its parent was fitted on is not even asked
        assert found == {child: None}
    else:
        assert found == {child: frozenset({"bb"}), parent: None}
