"""A worker that looks again at what a former champion judged, and all that a person could see of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db import views, worklist
from db.base import make_readers
from db.models.flag import Flag
from db.models.model import ModelVersion
from db.models.prediction import Prediction
from db.models.rescoring import Rescoring
from db.models.study import Image, Study, StudyRevision
from db.queries import ResultRow, flagged_count, results
from db.rescoring import queue
from db.vocabulary import FlagKind, Outcome
from imaging.master import save_master
from tests.factories.bundles import chest
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    PredictionFactory,
    StudyFactory,
    StudyRevisionFactory,
    ago,
    promoted,
    rows_in,
)
from tests.integration.worker_kit import SPEC, HandClock, Predict, StubRuntime, always, install_model, make_serving
from worker.rescoring.rescorer import Rescorer
from worker.settle import settle_due

Sessions = sessionmaker[Session]
OF_OUTCOME = {Outcome.SUSPECTED: FlagKind.SUSPECTED, Outcome.NO_RESULT: FlagKind.NO_RESULT}
SCORE = {Outcome.SUSPECTED: 0.9, Outcome.NOT_SUSPECTED: 0.1, Outcome.NO_RESULT: None}


@dataclass
class Again:
    """A former champion, its successor, and a worker that serves the successor."""

    settings: Settings
    sessions: Sessions
    predict: Predict = field(default_factory=lambda: always(0.9))

    def __post_init__(self) -> None:
        self.former = install_model(self.sessions, "1").model_version_id
        wanted = install_model(self.sessions, "2")
        self.champion = wanted.model_version_id
        self.runtime = StubRuntime(lambda inputs: self.predict(inputs))  # noqa: PLW0108 - a test may put another there
        self.serving = make_serving(self.settings, wanted, self.runtime)
        self.clock = HandClock()
        self.rescorer = Rescorer(self.settings, self.sessions, self.clock)
        self._seed = 0

    def judged(self, outcome: Outcome = Outcome.NOT_SUSPECTED, *extra: FlagKind, settled: bool = True) -> int:
        """A study of one image that the former champion judged so; return its id."""
        self._seed += 1
        master = save_master(self.settings.masters, chest(np.random.default_rng(self._seed)))
        with self.sessions.begin() as session, rows_in(session):
            study = StudyFactory(
                first_received_at=ago(3600 - self._seed), settled_at=ago(3000) if settled else None, outcome=outcome
            )
            image = ImageFactory(
                study=study,
                outcome=outcome,
                reason="NOT_FINITE" if outcome is Outcome.NO_RESULT else None,
                master_digest=master,
                input_digest="i" * 64,
                rows=2000,
                columns=1800,
            )
            PredictionFactory(
                image=image,
                model_version=session.get_one(ModelVersion, self.former),
                preprocess_digest=SPEC.digest(),
                outcome=outcome,
                score=SCORE[outcome],
                probability=SCORE[outcome],
            )
            if settled:
                StudyRevisionFactory(study=study, outcome=outcome)
            of_outcome = [OF_OUTCOME[outcome]] if outcome in OF_OUTCOME else []
            for kind in (*of_outcome, *extra):
                FlagFactory(study=study, kind=kind, image_id=None if kind is FlagKind.AUDIT else image.id)
            return study.id

    def promoted(self) -> int:
        """Make the successor champion and queue; return how many images wait."""
        with self.sessions.begin() as session:
            promoted(session, self.champion, 1)
            return queue(session, self.champion, 30)

    def run(self) -> int:
        """Look again until nothing waits that may be taken now; return how many were claimed."""
        taken = 0
        self.clock.seconds += 100
        while batch := self.rescorer.run_batch(self.serving, lambda: None):
            taken += batch
        return taken

    def settle(self) -> int:
        return settle_due(self.settings, self.sessions)

    def study(self, study_id: int) -> Study:
        with self.sessions() as session:
            return session.get_one(Study, study_id)

    def revisions(self, study_id: int) -> list[tuple[int, Outcome]]:
        with self.sessions() as session:
            rows = session.scalars(
                select(StudyRevision).where(StudyRevision.study_id == study_id).order_by(StudyRevision.revision)
            )
            return [(row.revision, row.outcome) for row in rows]

    def flags(self, study_id: int) -> list[tuple[FlagKind, int]]:
        """Open flags with the revision they were raised in, by priority."""
        with self.sessions() as session:
            rows = session.scalars(
                select(Flag).where(Flag.study_id == study_id, Flag.cleared_at.is_(None)).order_by(Flag.priority)
            )
            return [(row.kind, row.study_revision) for row in rows]

    def predictions(self, study_id: int) -> list[Prediction]:
        with self.sessions() as session:
            query = select(Prediction).join(Image).where(Image.study_id == study_id).order_by(Prediction.id)
            return list(session.scalars(query))

    def rows(self) -> list[Rescoring]:
        with self.sessions() as session:
            return list(session.scalars(select(Rescoring).order_by(Rescoring.id)))

    def shown(self, study_id: int, *, flagged: bool = False) -> ResultRow:
        with self.sessions() as session:
            (row,) = [row for row in results(session, flagged=flagged) if row.study_id == study_id]
            return row


def everything_shown(engine: Engine) -> list[object]:
    """All that a person, a list or a delivery could read of results."""
    with make_readers(engine)() as session:
        shown: list[object] = [session.execute(text(f"SELECT * FROM {name}")).all() for name in views.NAMES]  # noqa: S608
        shown += [results(session), results(session, flagged=True), worklist.places(session), flagged_count(session)]
        shown += _values(session, Flag, Study, StudyRevision)
        images = session.scalars(select(Image).order_by(Image.id))
        shown += [(image.outcome, image.reason, image.revision, image.annotations) for image in images]
    return shown


def _values(session: Session, *tables: type[Flag | Study | StudyRevision]) -> list[object]:
    return [
        tuple(getattr(row, column.key) for column in table.__table__.columns)
        for table in tables
        for row in session.scalars(select(table).order_by(table.id))
    ]
