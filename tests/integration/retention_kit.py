"""A house with files and masters of studies that are long done, for tests of retention."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.spool import Entry, stored_path
from db.base import make_readers
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.vocabulary import ReceiptState
from imaging.master import master_path, save_master
from tests.factories.rows import ImageFactory, ReceiptFactory, StudyFactory, ago, digest, rows_in

DAY = 86_400.0
OLD = 100 * DAY


class House:
    """Where retention is tried: studies of one image, each with its file and its master."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.data = settings.data_dir.resolve()
        self.sessions = sessions
        # so that a test may look while it writes
        self._read = make_readers(sessions.kw["bind"])
        self._made = 0

    def study(
        self, *, age: float = OLD, state: ReceiptState = ReceiptState.CLASSIFIED, settled: bool = True
    ) -> tuple[Path, Path]:
        """Let a study have come so long ago, and return where its file and its master lie."""
        self._made += 1
        content = f"instance {self._made}".encode()
        entry = Entry("0123456789ab00000001", self._made, digest(self._made))
        path = stored_path(self.data, entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        master = save_master(self.data / "masters", picture_of(self._made))
        self.age_master(master, age)
        with self.sessions.begin() as session, rows_in(session):
            then = ago(age)
            study = StudyFactory(first_received_at=then, settled_at=then if settled else None)
            image = ImageFactory(
                study=study,
                master_digest=master,
                sop_instance_uid=f"1.2.3.{self._made}",
                receipt_sha256=entry.sha256,
            )
            ReceiptFactory(
                named=entry,
                size=len(content),
                state=state,
                received_at=then,
                finished_at=None if state is ReceiptState.PENDING else then,
                stored_at=then,
                study_id=study.id,
                image_id=image.id,
                sop_class_uid=image.sop_class_uid,
                sop_instance_uid=image.sop_instance_uid,
            )
        return path, master_path(self.data / "masters", master)

    def age_master(self, master: str, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(master_path(self.data / "masters", master), (then, then))

    def study_id(self, number: int = 1) -> int:
        with self._read() as session:
            return session.scalars(select(Image.study_id).where(Image.sop_instance_uid == f"1.2.3.{number}")).one()

    def receipts(self) -> list[Receipt]:
        with self._read() as session:
            return list(session.scalars(select(Receipt).order_by(Receipt.id)))


def picture_of(number: int) -> NDArray[np.uint16]:
    return np.full((8, 8), number, np.uint16)


def grow_old(sessions: sessionmaker[Session], seconds: float = OLD) -> None:
    """Put everything that is finished and settled so far into the past."""
    with sessions.begin() as session:
        for receipt in session.scalars(select(Receipt).where(Receipt.finished_at.is_not(None))):
            receipt.finished_at -= timedelta(seconds=seconds)  # type: ignore[operator]
        session.execute(update(Study).values(settled_at=ago(seconds)))
