"""A night under way: the way to its row, and what the report is later told from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from core import failpoints
from db import nightly_runs as runs
from db.models.learning import NightlyRun, Snapshot
from db.models.model import ChampionChange, ModelVersion
from db.nightly_runs import Held
from db.vocabulary import ExaminedOn, NightState, NightStep
from training.nightly.examining import Asked, Pictures
from training.nightly.report.night import Role
from training.nightly.snapshot import take
from training.nightly.snapshot.manifest import Manifest
from training.nightly.tonight import Tonight


@dataclass(frozen=True, slots=True)
class Ending:
    """How a night ended; RUNNING where it is to be gone on with."""

    state: NightState
    reason: str


@dataclass
class UnderWay:
    """One night as far as it has come.

    Attributes
    ----------
    manifest, models, pictures, asked
        What this process has found out; a night that is gone on with finds it out again, but for what is stored.
    """

    tonight: Tonight
    held: Held
    manifest: Manifest | None = None
    models: dict[Role, ModelVersion] = field(default_factory=dict)
    pictures: dict[ExaminedOn, Pictures] = field(default_factory=dict)
    asked: dict[ExaminedOn, dict[Role, Asked]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where this start of the night writes: one that lost the night must not write over its follower's report."""
        return self.tonight.folder / str(self.held.attempt)

    def row(self) -> NightlyRun:
        """Return the night's row as it is now."""
        with self.tonight.readers() as session:
            return runs.get(session, self.held.run_id)

    def note(self, **values: Any) -> None:
        """Write columns of the night's row.

        Raises
        ------
        NightLost
            If it is not ours any more.
        """
        with self.tonight.sessions.begin() as session:
            runs.note(session, self.held, **values)

    def read(self, snapshot_id: int) -> Manifest:
        """Read a snapshot's manifest.

        Raises
        ------
        DatasetError
            If it is not there or damaged.
        """
        with self.tonight.readers() as session:
            digest = session.get_one(Snapshot, snapshot_id).digest
        return take.read(self.tonight.settings, digest)

    def swapped(self) -> str | None:
        """Return why this night has changed the champion already; None where it has not.

        Nobody else knows of a night that was killed right after it.
        """
        with self.tonight.readers() as session:
            query = select(ChampionChange.reason).where(ChampionChange.nightly_run_id == self.held.run_id)
            return session.scalars(query).first()

    @contextmanager
    def step(self, step: NightStep) -> Iterator[None]:
        """Say which step is under way, and how long it took."""
        self.note(step=step, progress=None)
        failpoints.reach(f"nightly.{step.lower()}")
        began = time.monotonic()
        try:
            yield
        finally:
            taken = dict(self.row().seconds)
            taken[step.value] = round(taken.get(step.value, 0.0) + time.monotonic() - began, 1)
            self.note(seconds=taken)
