"""A site with labelled pictures, for tests of snapshots: patients, masters, verdicts, imported data sets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.datasets import Entry, NewDataSet
from db.datasets import record as import_data
from db.labels import Wanted, record
from db.vocabulary import DataLayout, ImageClass, Share, Side, Use
from imaging.master import master_path, save_master
from tests.factories.rows import ImageFactory, StudyFactory, StudyRevisionFactory, VerdictFactory, ago, digest, rows_in
from training.nightly.snapshot.sides import share_of, side_of

ILL, WELL = ImageClass.PNEUMONIA, ImageClass.NORMAL


def patients(side: Side, count: int, share: Share | None = None, start: int = 0) -> list[str]:
    """Return digests of so many patients whom the hash puts there."""
    found = []
    number = start
    while len(found) < count:
        one = digest(f"patient {number}")[:16]
        if side_of(one) is side and (share is None or share_of(one) is share):
            found.append(one)
        number += 1
    return found


def pixels(seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, (12, 16), np.uint16)


class Site:
    """Labels of one installation as verdicts give them, all derived anew with each change."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.settings = settings
        self.sessions = sessions
        self._wanted: dict[tuple[str, str], Wanted] = {}

    def master(self, seed: int) -> str:
        """Keep a master and return its digest."""
        return save_master(self.settings.masters, pixels(seed))

    def lose(self, master: str) -> Path:
        """Remove a master's file as nobody should, and return its place."""
        path = master_path(self.settings.masters, master)
        path.unlink()
        return path

    def label(
        self, patient: str, label: ImageClass, seed: int, *, read_at: datetime | None = None, **header: object
    ) -> str:
        """Let readers say something of a picture of a patient; returns the master's digest."""
        master = self.master(seed)
        with self.sessions.begin() as session, rows_in(session):
            study = StudyFactory()
            ImageFactory(study=study, master_digest=master, **header)
            verdict = VerdictFactory(study_revision=StudyRevisionFactory(study=study), read_at=read_at or ago(10))
            known = self._wanted.get((master, patient))
            verdict_ids = frozenset({verdict.id}) | (known.verdict_ids if known else frozenset())
            self._wanted[master, patient] = Wanted(master, patient, label, None, verdict_ids)
        self.derive()
        return master

    def withdraw(self, patient: str, master: str) -> None:
        """Let the readers no longer say anything of a picture."""
        del self._wanted[master, patient]
        self.derive()

    def derive(self) -> None:
        with self.sessions.begin() as session:
            record(session, list(self._wanted.values()))

    def import_set(self, name: str, rows: Sequence[tuple[str, ImageClass, int, Use]]) -> list[str]:
        """Import a data set of these patients, labels, pictures and uses."""
        masters = [self.master(seed) for _, _, seed, _ in rows]
        entries = [
            Entry(f"{label}/{number}", digest((name, number)), master, patient, label, None, None, use)
            for number, ((patient, label, _, use), master) in enumerate(zip(rows, masters, strict=True))
        ]
        with self.sessions.begin() as session:
            import_data(session, NewDataSet(name, digest((name, masters)), DataLayout.TABLE, "ours"), entries)
        return masters
