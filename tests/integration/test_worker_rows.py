"""Two workers on one instance that came under two studies lock in one order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from core.errors import TransientFailure
from db.models.study import Image, Study
from db.studies import lock_study
from tests.factories.rows import ImageFactory, StudyFactory, ago, rows_in
from tests.waiting import wait_until
from worker import rows

Sessions = sessionmaker[Session]


def instance(sessions: Sessions, home: int) -> tuple[list[tuple[int, str]], str]:
    """Write two studies and an instance at home in one of them; return the studies' ids and UIDs, and its UID."""
    with sessions.begin() as session, rows_in(session):
        studies = [StudyFactory(), StudyFactory()]
        image = ImageFactory(study=studies[home])
        return [(study.id, study.study_uid) for study in studies], image.sop_instance_uid


def lock(sessions: Sessions, study_uid: str, sop_instance_uid: str) -> tuple[int, int | None]:
    """Lock as a worker that records does; return the ids of the study named and of the instance's."""
    with sessions.begin() as session:
        named, known = rows.lock_study_and_image(
            session, study_uid=study_uid, sop_instance_uid=sop_instance_uid, received_at=ago(1)
        )
        return named.id, None if known is None else known[1].id


def wait_for_a_lock(sessions: Sessions) -> None:
    """Wait until another session of this database waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def waits() -> bool:
        with sessions() as session:
            return bool(session.scalar(waiting))

    wait_until(waits, 10, "another worker waits for a lock")


# SQLite has one writer at a time
@pytest.mark.parametrize("ledger_settings", ["postgresql"], indirect=True)
@pytest.mark.parametrize("home", [0, 1])
def test_an_instance_is_not_held_while_its_study_is_waited_for(sessions: Sessions, home: int) -> None:
    studies, sop_instance_uid = instance(sessions, home)
    (home_id, _), (named_id, named_uid) = studies[home], studies[1 - home]
    with ThreadPoolExecutor(1) as pool:
        with sessions.begin() as session:
            lock_study(session, home_id)
            other = pool.submit(lock, sessions, named_uid, sop_instance_uid)
            wait_for_a_lock(sessions)
            # if it were held, we would wait for the other worker, and it for us
            free = select(Image.id).where(Image.sop_instance_uid == sop_instance_uid).with_for_update(nowait=True)
            assert session.scalar(free) is not None
        assert other.result() == (named_id, home_id)


@pytest.mark.parametrize("ledger_settings", ["postgresql"], indirect=True)
def test_an_instance_that_appears_meanwhile_under_another_study_is_read_again(sessions: Sessions) -> None:
    (home, (named_id, named_uid)), _ = instance(sessions, 0)
    with ThreadPoolExecutor(1) as pool:
        with sessions.begin() as session, rows_in(session):
            lock_study(session, named_id)
            other = pool.submit(lock, sessions, named_uid, "9.9")
            wait_for_a_lock(sessions)
            ImageFactory(study=session.get_one(Study, home[0]), sop_instance_uid="9.9")
        with pytest.raises(TransientFailure, match="read again"):
            other.result()
    assert lock(sessions, named_uid, "9.9") == (named_id, home[0])


def test_a_study_that_is_new_is_made(sessions: Sessions) -> None:
    _, sop_instance_uid = instance(sessions, 0)
    with sessions.begin() as session:
        named, known = rows.lock_study_and_image(
            session, study_uid="1.2.3.4", sop_instance_uid=sop_instance_uid, received_at=ago(1)
        )
        assert known is not None
        assert (named.study_uid, known[1].id == named.id) == ("1.2.3.4", False)
        unseen = rows.lock_study_and_image(session, study_uid="1.2.3.4", sop_instance_uid="9.9", received_at=ago(1))
        assert unseen == (named, None)
        assert len(session.scalars(select(Study)).all()) == 3
