from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session, sessionmaker

from core.spool import Entry
from db.claims import claim, finish
from db.models.receipt import Receipt
from db.receipts import known, mark_stored, register, unstored
from db.vocabulary import ReceiptState
from tests.factories.rows import ago, entry, new_receipts

Sessions = sessionmaker[Session]
DONE = ReceiptState.CLASSIFIED


def test_registering_twice_makes_one_receipt_and_changes_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        assert register(session, new_receipts(3), 900) == 3
        (held, *_) = claim(session, 1, 60)
        finish(session, held, ReceiptState.CLASSIFIED)
    with sessions.begin() as session:
        assert register(session, new_receipts(5), 900) == 2
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Receipt)) == 5
        assert session.get_one(Receipt, held.receipt_id).state is ReceiptState.CLASSIFIED


def test_it_is_due_from_when_it_was_received(sessions: Sessions) -> None:
    received = ago(100)
    with sessions.begin() as session:
        register(session, new_receipts(1, received_at=received), 900)
    with sessions() as session:
        receipt = session.scalars(select(Receipt)).one()
    assert receipt.received_at == received
    assert receipt.due_at == received + timedelta(seconds=900)
    assert abs((receipt.registered_at - ago(0)).total_seconds()) < 10


def test_many_are_registered_at_once(sessions: Sessions) -> None:
    with sessions.begin() as session:
        assert register(session, reversed(new_receipts(1201)), 900) == 1201
    with sessions() as session:
        assert list(session.scalars(select(Receipt.sequence).order_by(Receipt.id))) == list(range(1, 1202))
        asked = [entry(number) for number in range(1000, 1400)]
        assert known(session, "listener", asked) == {entry(number) for number in range(1000, 1202)}
        assert known(session, "other", asked) == set()


def test_of_two_association_processes_what_was_received_first_comes_first(sessions: Sessions) -> None:
    """Or, of one instance sent over two associations while nobody registered, the later would be taken for first."""
    began, found = ago(100), []
    for number in range(1, 7):
        # by turns, and the process whose name sorts last began
        name = Entry(("b" if number % 2 else "a") * 20, (number + 1) // 2, f"{number:064x}")
        (new,) = new_receipts(1, received_at=began + timedelta(milliseconds=4 * number))
        found.append(replace(new, entry=name, sop_instance_uid="1.2.3"))
    with sessions.begin() as session:
        register(session, reversed(found), 900)
    with sessions.begin() as session:
        claims = [held for _ in found for held in claim(session, 1, 60) if finish(session, held, DONE) is None]
    assert [held.entry for held in claims] == [new.entry for new in found]


def test_two_registrars_at_once_make_each_receipt_once(sessions: Sessions) -> None:
    def work(_: int) -> int:
        with sessions.begin() as session:
            return register(session, new_receipts(300), 900)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 300


def test_nothing_is_registered_before_the_commit(sessions: Sessions) -> None:
    with sessions() as session:
        register(session, new_receipts(3), 900)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Receipt)) == 0


def test_left_files_are_found_until_they_are_stored(sessions: Sessions) -> None:
    with sessions.begin() as session:
        register(session, new_receipts(3), 900)
        for held in claim(session, 2, 60):
            finish(session, held, ReceiptState.CLASSIFIED)
    with sessions.begin() as session:
        first, second = unstored(session, 10)
        assert (first.listener, first.entry) == ("listener", entry(1))
        assert unstored(session, 10, after_id=first.receipt_id) == [second]
        mark_stored(session, [first.receipt_id])
        assert unstored(session, 10) == [second]


@pytest.mark.parametrize("peer", ["A\0B", "seventeen letters"])
def test_both_databases_refuse_the_same_text(sessions: Sessions, peer: str) -> None:
    (new,) = new_receipts(1)
    poisoned = type(new)(new.entry, new.listener, new.size, new.received_at, peer)
    with pytest.raises(StatementError) as caught, sessions.begin() as session:
        register(session, [poisoned], 900)
    assert peer not in str(caught.value)


def test_a_time_ahead_of_the_databases_clock_is_taken_for_its_now(sessions: Sessions) -> None:
    with sessions.begin() as session:
        register(session, new_receipts(1, received_at=ago(-3600)), 900)
        receipt = session.scalars(select(Receipt)).one()
        assert receipt.received_at <= receipt.registered_at
        assert (receipt.due_at - receipt.received_at).total_seconds() == 900


def test_a_naive_time_is_refused(sessions: Sessions) -> None:
    (new,) = new_receipts(1, received_at=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
    with pytest.raises(StatementError, match="naive"), sessions.begin() as session:
        register(session, [new], 900)
