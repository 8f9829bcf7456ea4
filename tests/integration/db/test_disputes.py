"""Disputes in SQL on both databases: the consensus rule's own answer, study by study."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from db.base import make_sessions
from db.consensus import Finding
from db.disputes import disputed
from db.judged import judged
from db.models.study import Study
from db.vocabulary import VerdictKind
from tests.factories.rows import StudyFactory, StudyRevisionFactory, VerdictFactory, rows_in

BASE = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine).begin() as session, rows_in(session):
        yield session


def test_sql_and_the_consensus_rule_agree_on_what_is_in_dispute(session: Session) -> None:
    dice = random.Random(7)
    for _ in range(150):
        study = StudyFactory()
        for number in (1, 2, 3):
            revision = StudyRevisionFactory(study=study, revision=number)
            for _ in range(dice.choice([0, 0, 3, 5])):
                VerdictFactory(
                    study_revision=revision,
                    reader=dice.choice("abcde"),
                    read_at=BASE + timedelta(seconds=dice.randrange(3)),
                    verdict=dice.choice(list(VerdictKind)),
                )
    expected = {one.study_id for one in judged(session) if one.consensus.finding is Finding.DISPUTED}
    assert set(session.scalars(select(Study.id).where(disputed("study")))) == expected
    assert 20 < len(expected) < 100
