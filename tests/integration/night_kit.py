"""A site that nights run on: a ledger with labelled pictures of drawn chests, a champion, and a clock set by hand."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from bundle.architectures.table import ARCHITECTURES
from core.settings import Settings
from db.base import database_now, make_engine, make_readers, make_sessions
from db.datasets import Entry, NewDataSet
from db.datasets import record as import_data
from db.migrate import upgrade
from db.models.learning import NightlyRun
from db.registry import install_champion_if_none
from db.vocabulary import DataLayout, ImageClass, NightKind, Use
from imaging.master import save_master
from tests.factories.bundles import make_key, write_private
from tests.factories.chests import drawn
from tests.factories.networks import small
from tests.factories.rows import digest
from tests.integration import night_process
from training.bundling.build import Order, Source, build_from
from training.datasets.collection import INTENDED_USE
from training.fitting.recipe import HardenedRecipe, Stage
from training.fitting.run import Epoch
from training.nightly.promotion import admit
from training.nightly.run import run
from training.nightly.snapshot.material import material
from training.nightly.snapshot.take import take
from training.nightly.tonight import Recipes, Tonight
from training.nightly.under_way import Ending

ILL, WELL = ImageClass.PNEUMONIA, ImageClass.NORMAL
KEY: Ed25519PrivateKey = make_key(7)
FIRST = date(2027, 3, 1)
# of the first champion, and not of the public collection: what its challengers are for as well
USE = INTENDED_USE.model_copy(update={"age_days": (30, 6575)})

# far wider than a hospital's: a hundred drawn chests must be able to show something within a test
LENIENT: Mapping[str, object] = {
    "gate_sensitivity_margin": 0.2,
    "gate_specificity_margin": 0.2,
    "gate_auc_margin": 0.2,
    "gate_log_loss_margin": 1.0,
    "gate_slope_low": 0.01,
    "gate_slope_high": 10.0,
    "gate_subgroup_images": 1000,
    "gate_alpha_a_year": 0.01,
    "gate_exams_a_year": 13,
    "gate_resamples": 300,
    "nightly_sensitivity": 0.5,
    "nightly_minimum_labels": 20,
    "nightly_scratch_weekday": "",
}


def recipes(epochs: int = 6, seed: int = 1) -> Recipes:
    """Return recipes that take seconds; the network is `small`."""
    plain = {"batch_size": 16, "averaging": 0.9, "hollow": 0.0, "mixup": 0.0, "label_smoothing": 0.0, "seed": seed}
    whole = HardenedRecipe("small", (Stage(32, epochs),), learning_rate=1e-2, **plain)  # type: ignore[arg-type]
    fine = HardenedRecipe("small", (Stage(32, epochs // 2),), learning_rate=5e-3, **plain)  # type: ignore[arg-type]
    return {NightKind.FROM_SCRATCH: whole, NightKind.FINE_TUNE: fine}


@dataclass
class NightClock:
    """The machine's time as the test sets it; what is waited for does not pass."""

    moment: datetime
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds


class Quiet:
    """Hears of a fit and says nothing."""

    def stage(self, name: str, total: int) -> object:
        del name, total
        return lambda: None

    def epoch(self, epoch: Epoch) -> None:
        del epoch


@dataclass
class NightSite:
    """One installation by night."""

    settings: Settings
    sessions: sessionmaker[Session]
    readers: sessionmaker[Session]
    seeds: int = 0

    def tonight(self, night: date, **changes: object) -> Tonight:
        clock = NightClock(datetime(night.year, night.month, night.day, 2, tzinfo=UTC))
        given: dict[str, object] = {
            "clock": clock,
            "recipes": lambda begun: recipes(seed=begun.toordinal()),
            **changes,
        }
        return Tonight(night, self.settings, self.sessions, self.readers, KEY, **given)  # type: ignore[arg-type]

    def let_lapse(self) -> None:
        """Let the lease of whoever held a night end."""
        with self.sessions.begin() as session:
            session.execute(update(NightlyRun).values(lease_until=database_now(-1)))

    def run(self, number: int, **changes: object) -> Ending | None:
        """Run the night so many days after the first."""
        return self.run_on(FIRST + timedelta(days=number), **changes)

    def run_on(self, night: date, **changes: object) -> Ending | None:
        """Run the night of a date."""
        return run(self.tonight(night, **changes))

    def arrive(self, ill: int, well: int, use: Use, *, mislabelled: float = 0.0, shortcut: bool = False) -> None:
        """Let pictures of new patients come with a data set, some of them with the other label."""
        rng = np.random.default_rng([self.seeds, 5])
        entries = []
        for label in [ILL] * ill + [WELL] * well:
            self.seeds += 1
            said = label
            if rng.random() < mislabelled:
                said = WELL if label is ILL else ILL
            master = save_master(self.settings.masters, drawn(label, self.seeds, shortcut=shortcut))
            patient = digest(f"patient {self.seeds}")[:16]
            key = f"{said}/{self.seeds}"
            entries.append(Entry(key, digest(self.seeds), master, patient, said, None, None, use))
        named = f"delivery {self.seeds}"
        with self.sessions.begin() as session:
            import_data(session, NewDataSet(named, digest((named, self.seeds)), DataLayout.TABLE, "drawn"), entries)

    def begin(self) -> None:
        """Let there be a test set of what the classes are, and a champion that learnt a shortcut in another ward."""
        self.arrive(60, 60, Use.TEST)
        for count, use in ((25, Use.VALIDATION), (15, Use.WATCH), (60, Use.FIT)):
            self.arrive(count, count, use, shortcut=True)
        self.crown()
        freeze(self)

    def teach(self) -> None:
        """Let enough pictures come to learn from what the classes are."""
        for count, use in ((50, Use.VALIDATION), (30, Use.WATCH), (200, Use.FIT)):
            self.arrive(count, count, use)

    def crown(self, seed: int = 3, version: str = "0") -> int:
        """Fit a first champion on what is there, and install it."""
        _, manifest = take(self.settings, self.sessions)
        found = material(self.settings, manifest)
        location = f"first-{version}"
        order = Order(
            recipes(seed=seed)[NightKind.FROM_SCRATCH],
            self.settings.data_dir,
            self.settings.bundles / location,
            "first",
            version,
            self.settings.nightly_sensitivity,
        )
        source = Source(found.dataset, found.assignment, "first", "drawn", USE, str)
        build_from(order, source, KEY, datetime(2027, 2, 1, tzinfo=UTC), Quiet())  # type: ignore[arg-type]
        model = admit(self.settings, self.sessions, location)
        with self.sessions.begin() as session:
            install_champion_if_none(session, model)
        return model


def prepare(settings: Settings) -> None:
    """Let the process know the small network, and the settings' signing key be there."""
    ARCHITECTURES["small"] = small
    if settings.signing_key_file is not None and not settings.signing_key_file.exists():
        write_private(KEY, settings.signing_key_file)


def freeze(site: NightSite, reason: str = "first") -> None:
    """Freeze the test set as `lungwatch testset freeze` does."""
    from training.nightly.snapshot.freezing import freeze as freeze_test  # noqa: PLC0415

    freeze_test(site.settings, site.sessions, actor="test", reason=reason, dry_run=False)


def begun(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a site whose night was killed twice: after two epochs of its fit, and when the bundle was written.

    It takes half a minute, so all the processes of a test run share it; work on copies (`copied`).
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "begun-site"
    folder.mkdir(exist_ok=True)
    settings = Settings(data_dir=folder / "data", signing_key_file=folder / "key.pem", **LENIENT)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare(settings)
        if not (folder / "done").exists():
            shutil.rmtree(settings.data_dir, ignore_errors=True)
            _begin(settings)
            (folder / "done").touch()
    return settings


def _begin(settings: Settings) -> None:
    engine = make_engine(settings)
    upgrade(engine)
    site = NightSite(settings, make_sessions(engine), make_readers(engine))
    site.begin()
    site.teach()
    for failpoint in ("fit.epoch_kept:2", "nightly.bundle_written"):
        night_process.kill_at(failpoint, settings, FIRST, LENIENT)
        site.let_lapse()
    # two starts are left to each test
    with site.sessions.begin() as session:
        session.execute(update(NightlyRun).values(attempts=1))
    engine.dispose()


@contextmanager
def copied(settings: Settings, folder: Path, **changes: Any) -> Iterator[NightSite]:
    """Copy a site into a folder, unless it was copied there already, with settings of its own."""
    if not (folder / "data").exists():
        shutil.copytree(settings.data_dir, folder / "data")
    own = settings.model_copy(update={"data_dir": folder / "data", **changes})
    engine = make_engine(own)
    yield NightSite(own, make_sessions(engine), make_readers(engine), seeds=10_000)
    engine.dispose()
