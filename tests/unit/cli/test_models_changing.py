from __future__ import annotations

import getpass
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from bundle.manifest import LITERT
from cli import ledger
from core.logging import configure
from core.settings import Settings
from db.champion_history import history
from db.registry import champion
from tests.factories.bundles import make_bundle, make_key, starter, write_public
from tests.unit.cli.conftest import Lungwatch
from training.nightly import promotion
from worker.serving import install_starter

STARTER, FIRST = starter().manifest.version, starter().manifest.title
WHY = ("--reason", "agreed with the physicist")


@pytest.fixture
def bundles(ledger_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundles directory of an installation that trusts the key of `make_key`."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "site.pem")
    monkeypatch.setenv("LUNGWATCH_TRUSTED_KEYS_DIR", str(keys))
    return ledger_settings.bundles


@pytest.fixture
def site(
    bundles: Path,
    ledger_settings: Settings,
    sessions: sessionmaker[Session],
    lungwatch: Lungwatch,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], tuple[str, str]]:
    """The starter in service, and two models of the site's own beside it; says who is champion, and who anchor."""
    # log lines must stay out of --json here as they do outside
    monkeypatch.setattr(ledger, "configure", configure)
    with sessions.begin() as session:
        install_starter(ledger_settings, session)
    for version in ("a", "b"):
        make_bundle(bundles / f"own-{version}", version=version)
        assert lungwatch("models", "register", f"own-{version}").code == 0

    def standing() -> tuple[str, str]:
        rows = json.loads(lungwatch("models", "list", "--json").out)
        ((model, place),) = [(row["version"], row["anchor"]) for row in rows if row["champion"]]
        ((anchored,),) = [(row["version"],) for row in rows if row["anchor"]]
        assert place == (model == anchored)
        return model, anchored

    return standing


def test_there_is_nobody_to_replace_before_the_first_worker(bundles: Path, lungwatch: Lungwatch) -> None:
    make_bundle(bundles / "own", version="a")
    assert lungwatch("models", "register", "own").code == 0
    for command in (("promote", "a"), ("rollback",), ("anchor", "a")):
        said = lungwatch("models", *command, *WHY)
        assert (said.code, "no model is in service yet" in said.err) == (1, True)
    assert "No model" in lungwatch("models", "history").err
    assert json.loads(lungwatch("models", "history", "--json").out) == []


def test_promoted_rolled_back_and_every_step_can_be_read(
    site: Callable[[], tuple[str, str]], lungwatch: Lungwatch
) -> None:
    assert site() == (STARTER, STARTER)
    said = lungwatch("models", "promote", "a", *WHY)
    assert (said.code, "test a is champion in place of" in said.out) == (0, True)
    assert site() == ("a", STARTER)
    assert json.loads(lungwatch("models", "promote", "b", *WHY, "--json").out) == {
        "champion": "test b",
        "before": "test a",
        "fencing_token": 3,
    }
    assert lungwatch("models", "anchor", "b", "--reason", "best on the\n frozen test").code == 0
    assert site() == ("b", "b")
    # back, and one further back; the anchor stays
    assert lungwatch("models", "rollback", "--reason", "too many false alarms").code == 0
    assert site() == ("a", "b")
    assert lungwatch("models", "rollback", *WHY).code == 0
    assert site() == (STARTER, "b")
    said = lungwatch("models", "rollback", *WHY)
    assert (said.code, "nobody was champion before" in said.err) == (1, True)
    assert lungwatch("models", "rollback", *WHY, "--to", "b").code == 0
    assert site() == ("b", "b")

    rows = json.loads(lungwatch("models", "history", "--json").out)
    assert [(row["what"], row["champion"], row["anchor"]) for row in reversed(rows)] == [
        ("INSTALLED", FIRST, FIRST),
        ("PROMOTED", "test a", FIRST),
        ("PROMOTED", "test b", FIRST),
        ("ANCHORED", "test b", "test b"),
        ("ROLLED_BACK", "test a", "test b"),
        ("ROLLED_BACK", FIRST, "test b"),
        ("ROLLED_BACK", "test b", "test b"),
    ]
    assert [row["reason"] for row in rows[2:4]] == ["too many false alarms", "best on the frozen test"]
    assert {row["actor"] for row in rows} == {"lungwatch", getpass.getuser()}
    assert [row["before"] for row in rows][-3:] == ["test a", FIRST, None]
    assert {row["nightly_run_id"] for row in rows} == {None}
    listed = lungwatch("models", "history").out
    assert "ROLLED_BACK" in listed
    assert "too many false alarms" in listed
    assert "champion, anchor" in lungwatch("models", "list").out


def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    site: Callable[[], tuple[str, str]], bundles: Path, lungwatch: Lungwatch
) -> None:
    make_bundle(bundles / "namesake", name="other", version="a")
    assert lungwatch("models", "register", "namesake").code == 0
    for arguments, code, words in (
        (("promote", "a"), 2, "which with --name: test, other"),
        (("promote", "c"), 2, "models list"),
        (("promote", "a", "--name", "none"), 2, "models list"),
        (("promote", STARTER), 1, "is champion already"),
        (("rollback", "--to", "b"), 1, "never was champion"),
        (("rollback",), 1, "nobody was champion before"),
    ):
        said = lungwatch("models", *arguments, *WHY)
        assert (said.code, words in said.err) == (code, True), said.err
    for reason in ("", " ", "x" * 501, "a\x1b[31m"):
        assert lungwatch("models", "promote", "b", "--reason", reason).code == 2
    assert lungwatch("models", "promote", "b").code == 2
    assert lungwatch("models", "register", "../own-a").code == 2
    assert site() == (STARTER, STARTER)
    assert lungwatch("models", "promote", "a", "--name", "other", *WHY).code == 0
    assert json.loads(lungwatch("models", "history", "--json").out)[0]["champion"] == "other a"


def test_row_24_a_corrupt_bundle_is_not_put_in_service_by_hand(
    site: Callable[[], tuple[str, str]], bundles: Path, lungwatch: Lungwatch
) -> None:
    assert lungwatch("models", "promote", "a", *WHY).code == 0
    for version in "ab":
        path = bundles / f"own-{version}" / LITERT
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(bytes(content))
    for command in (("promote", "b"), ("anchor", "b")):
        said = lungwatch("models", *command, *WHY)
        assert (said.code, "model.tflite is damaged or was altered" in said.err) == (2, True)
    # what serves now is damaged as well, and going back from it must do
    assert site() == ("a", STARTER)
    assert lungwatch("models", "rollback", *WHY).code == 0
    assert lungwatch("models", "rollback", "--to", "a", *WHY).code == 2
    assert site() == (STARTER, STARTER)


def test_of_two_people_at_once_one_wins_and_the_other_is_told(
    site: Callable[[], tuple[str, str]],
    sessions: sessionmaker[Session],
    lungwatch: Lungwatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody else promotes while this one's bundle is being verified."""
    verify = promotion.open_registered
    quicker = threading.Event()

    def meanwhile(*arguments: object) -> object:
        if not quicker.is_set():
            quicker.set()
            assert lungwatch("models", "promote", "b", *WHY).code == 0
        return verify(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "open_registered", meanwhile)
    said = lungwatch("models", "promote", "a", *WHY)
    assert (said.code, "the champion changed since it was looked at" in said.err) == (1, True)
    with sessions() as session:
        reign = champion(session)
        assert reign is not None
        assert (reign.model.version, reign.fencing_token, len(history(session))) == ("b", 2, 2)
    assert site() == ("b", STARTER)
