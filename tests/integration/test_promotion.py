"""A model promoted under a worker at work, and promotion killed at every step (fault row 34)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from bundle.calibration import probability
from bundle.errors import BundleRefused
from bundle.load import load_for
from bundle.manifest import LITERT
from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from db.base import database_url, make_sessions
from db.champion_history import history
from db.models.model import Heartbeat
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.study import Image
from db.registry import champion, install_champion_if_none, models
from db.vocabulary import ChangeKind, Outcome, ReceiptState
from imaging.master import load_master
from tests.factories import dicom_objects as objects
from tests.factories.bundles import bare, contrary, make_bundle, make_key, write_public
from tests.integration.worker_kit import deliver
from tests.integration.worker_process import ROOT, receipts, wait_finished, working
from tests.waiting import wait_until
from training.bundling.patterns import pattern
from training.nightly.promotion import admit, raise_champion

Sessions = sessionmaker[Session]
# what "workers follow within" promises
SWITCH_SECONDS = 30
# in hand at once, so that the worker never idles and never falls behind
BACKLOG = 12


def trusting(settings: Settings, keys: Path) -> Settings:
    """Let an installation trust the key of `make_key`."""
    keys.mkdir()
    write_public(make_key(), keys / "site.pem")
    return settings.model_copy(update={"trusted_keys_dir": keys})


@pytest.fixture
def either_site(ledger_settings: Settings, tmp_path: Path) -> Settings:
    """On each of the two databases."""
    return trusting(ledger_settings, tmp_path / "keys")


@pytest.fixture
def site(sqlite_settings: Settings, tmp_path: Path) -> Settings:
    return trusting(sqlite_settings, tmp_path / "keys")


@pytest.fixture
def ledger(sqlite_engine: Engine) -> Sessions:
    return make_sessions(sqlite_engine)


def installed(site: Settings, sessions: Sessions) -> dict[str, int]:
    """Put a model in service, and register one that says the opposite of each image and reckons otherwise."""
    make_bundle(site.bundles / "old", version="old", **bare())
    slope = {"slope": 0.5, "intercept": 0.25, "training_prevalence": 0.5}
    make_bundle(site.bundles / "new", version="new", calibration=slope, **contrary())
    found = {version: admit(site, sessions, version) for version in ("old", "new")}
    with sessions.begin() as session:
        install_champion_if_none(session, found["old"])
    return found


@contextmanager
def sending(site: Settings, sessions: Sessions) -> Iterator[None]:
    """Deliver studies, each of another picture, as fast as they are classified."""
    ended = threading.Event()
    rng = np.random.default_rng(0)

    def waiting() -> int:
        with sessions.begin() as session:
            return session.scalar(select(func.count()).where(Receipt.state == ReceiptState.PENDING)) or 0

    def send() -> None:
        while not ended.is_set():
            if waiting() < BACKLOG:
                deliver(site, sessions, objects.phantom(picture=pattern(rng), bits_stored=16))
            else:
                ended.wait(0.02)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()


def test_a_worker_under_load_goes_over_to_a_promoted_model_without_a_mixture(
    either_site: Settings, engine: Engine, sessions: Sessions
) -> None:
    site = either_site
    found = installed(site, sessions)

    def said(version: str) -> int:
        with sessions.begin() as session:
            of = Prediction.model_version_id == found[version]
            return session.scalar(select(func.count()).where(of)) or 0

    with working(site, trusted_keys_dir=site.trusted_keys_dir, runtime="litert") as worker:
        with sending(site, sessions):
            wait_until(lambda: said("old") >= 10, 90, "the old model is at work")
            raise_champion(site, sessions, found["new"], 1, kind=ChangeKind.PROMOTED, actor="somebody", reason="a test")
            wait_until(lambda: said("new"), SWITCH_SECONDS, "the new model shows in the predictions")
            wait_until(lambda: said("new") >= 10, 90, "the new model is at work")
        wait_finished(engine)
        with sessions.begin() as session:
            assert found["new"] in session.scalars(select(Heartbeat.model_version_id)).all()
        assert worker.stop() == 0

    # nothing failed or was tried again, and no study is without result
    assert {(receipt.state, receipt.attempts) for receipt in receipts(engine)} == {(ReceiptState.CLASSIFIED, 1)}
    with sessions.begin() as session:
        predictions = list(session.scalars(select(Prediction).order_by(Prediction.id)))
        images = list(session.scalars(select(Image)))
    assert {image.outcome for image in images} <= {Outcome.SUSPECTED, Outcome.NOT_SUSPECTED}
    assert len(predictions) == len(images) == len(receipts(engine))
    # one worker goes over once, and not back
    names = [prediction.model_version_id for prediction in predictions]
    assert names == sorted(names)
    assert set(names) == set(found.values())
    # and each says what the model it names says by itself of that image
    alone = {found[version]: load_for(site, site.bundles / version, None) for version in found}
    scores: dict[int, list[float]] = {model: [] for model in alone}
    for prediction in predictions:
        model = alone[prediction.model_version_id]
        master = load_master(site.masters.resolve(), prediction.master_digest)
        score = float(model.runtime.predict(model.spec.apply(master)[np.newaxis])[0])
        manifest = model.manifest
        assert prediction.score == pytest.approx(score, abs=1e-6)
        assert prediction.probability == pytest.approx(
            probability(score, manifest.calibration, None).probability, abs=1e-6
        )
        assert prediction.threshold == manifest.operating_point.threshold
        suspected = score >= manifest.operating_point.threshold
        assert prediction.outcome is (Outcome.SUSPECTED if suspected else Outcome.NOT_SUSPECTED)
        for other, answers in scores.items():
            answers.append(score if other == prediction.model_version_id else 1 - score)
    # which would show a mixture, because hardly an image is as good as undecided
    assert np.mean(np.abs(np.subtract(*scores.values())) > 1e-3) > 0.9


def test_row_24_a_worker_goes_on_with_the_champion_it_has_when_a_corrupt_one_is_raised(
    site: Settings, sqlite_engine: Engine, ledger: Sessions
) -> None:
    found = installed(site, ledger)

    def problem() -> str:
        with ledger.begin() as session:
            return " ".join(one or "" for one in session.scalars(select(Heartbeat.problem)))

    with working(site, trusted_keys_dir=site.trusted_keys_dir, runtime="litert") as worker:
        deliver(site, ledger, objects.phantom())
        wait_finished(sqlite_engine)
        # altered after it was raised, before a worker looks: nobody but the worker could notice
        raise_champion(
            site,
            ledger,
            found["new"],
            1,
            kind=ChangeKind.PROMOTED,
            actor="somebody",
            reason="a test",
            besides=lambda _: (site.bundles / "new" / LITERT).write_bytes(b"nonsense"),
        )
        wait_until(lambda: "old keeps serving" in problem(), 30, "the heartbeat says what keeps serving")
        deliver(site, ledger, objects.phantom())
        wait_finished(sqlite_engine)
        assert worker.stop() == 0
    with ledger.begin() as session:
        assert list(session.scalars(select(Prediction.model_version_id))) == [found["old"]] * 2


def command(site: Settings, *arguments: str, failpoint: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
    environment |= {
        "LUNGWATCH_DATA_DIR": str(site.data_dir.resolve()),
        "LUNGWATCH_DATABASE_URL": database_url(site),
        "LUNGWATCH_TRUSTED_KEYS_DIR": str(site.trusted_keys_dir),
    }
    if failpoint is not None:
        environment[ENVIRONMENT_VARIABLE] = failpoint
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("failpoint", "expected"),
    [("promotion.verified", "old"), ("promotion.swapped", "old"), ("promotion.committed", "new")],
)
def test_row_34_promotion_killed_at_any_step_leaves_one_of_the_two_in_service(
    site: Settings, ledger: Sessions, failpoint: str, expected: str
) -> None:
    installed(site, ledger)
    promotion = ("-m", "cli", "models", "promote", "new", "--reason", "a test")
    assert command(site, *promotion, failpoint=failpoint).returncode == -signal.SIGKILL

    def standing() -> tuple[str, int, list[int]]:
        with ledger() as session:
            reign = champion(session)
            assert reign is not None
            return reign.model.version, reign.fencing_token, [change.fencing_token for change in history(session)]

    token = 1 if expected == "old" else 2
    assert standing() == (expected, token, list(range(token, 0, -1)))
    # again: it is done now, or was done
    assert command(site, *promotion).returncode == (0 if expected == "old" else 1)
    assert standing() == ("new", 2, [2, 1])


@pytest.mark.parametrize("failpoint", ["bundle.half_written", "bundle.staged", "bundle.written"])
def test_row_34_a_bundle_whose_writer_is_killed_is_there_whole_or_not_at_all(
    site: Settings, ledger: Sessions, failpoint: str
) -> None:
    folder = site.bundles / "new"
    writing = (
        "from pathlib import Path; from tests.factories.bundles import make_bundle; "
        f"make_bundle(Path({str(folder.resolve())!r}))"
    )
    assert command(site, "-c", writing, failpoint=failpoint).returncode == -signal.SIGKILL
    assert folder.exists() == (failpoint == "bundle.written")
    if not folder.exists():
        # what is left is nothing that could be registered, and goes with a later try: it might be somebody's at work
        (left,) = site.bundles.iterdir()
        os.utime(left, (0, 0))
        with pytest.raises(BundleRefused, match="no plain name"):
            admit(site, ledger, left.name)
        make_bundle(folder)
    assert [path.name for path in site.bundles.iterdir()] == ["new"]
    model = admit(site, ledger, "new")
    with ledger() as session:
        assert [(row.id, row.location) for row in models(session)] == [(model, "new")]


def test_row_34_registering_killed_after_it_was_done_is_done(site: Settings, ledger: Sessions) -> None:
    make_bundle(site.bundles / "new")
    registering = ("-m", "cli", "models", "register", "new")
    assert command(site, *registering, failpoint="promotion.admitted").returncode == -signal.SIGKILL
    with ledger() as session:
        (row,) = models(session)
    assert admit(site, ledger, "new") == row.id
