from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_engine, make_sessions
from db.claims import Claim, LeaseLost, claim, finish, release, renew, start_attempt, waits_elsewhere
from db.models.receipt import Receipt
from db.receipts import register
from db.vocabulary import IllegalMove, ReceiptState, Urgency
from tests.factories.rows import ago, new_receipts
from tests.waiting import wait_until

Sessions = sessionmaker[Session]


def _register(sessions: Sessions, count: int, *, first: int = 1, urgency: Urgency = Urgency.ROUTINE) -> None:
    with sessions.begin() as session:
        register(session, new_receipts(count, first=first, urgency=urgency), 900)


def _claim(sessions: Sessions, limit: int = 10, seconds: float = 60) -> list[Claim]:
    with sessions.begin() as session:
        return claim(session, limit, seconds)


def _expire(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(update(Receipt).values(lease_until=ago(1)))


def _receipt(sessions: Sessions, receipt_id: int) -> Receipt:
    with sessions() as session:
        return session.get_one(Receipt, receipt_id)


def test_claims_come_urgent_first_then_in_order(sessions: Sessions) -> None:
    _register(sessions, 3)
    _register(sessions, 1, first=10, urgency=Urgency.RESCORE)
    _register(sessions, 2, first=20, urgency=Urgency.URGENT)
    assert [one.entry.sequence for one in _claim(sessions, 5)] == [20, 21, 1, 2, 3]
    assert [one.entry.sequence for one in _claim(sessions, 5)] == [10]
    assert _claim(sessions) == []


def test_a_later_delivery_of_an_instance_waits_for_the_earlier(sessions: Sessions) -> None:
    """Else whichever is decoded faster would be the first, which stays in force."""
    same = [replace(new, sop_instance_uid="2.25.1") for new in new_receipts(3)]
    other = [replace(new, sop_instance_uid="2.25.2") for new in new_receipts(1, first=4)]
    # nothing is known of what these hold, so they wait for nobody
    unnamed = new_receipts(2, first=5)
    # the same image through another listener, which must not wait for one that may be gone
    elsewhere = [replace(new, listener="second", sop_instance_uid="2.25.1") for new in new_receipts(1, first=7)]
    with sessions.begin() as session:
        register(session, [*same, *other, *unnamed, *elsewhere], 900)
    first, *others = _claim(sessions)
    assert [one.entry.sequence for one in (first, *others)] == [1, 4, 5, 6, 7]
    assert _claim(sessions) == []
    with sessions.begin() as session:
        release(session, [first], delay_seconds=60)
    assert _claim(sessions) == []
    with sessions.begin() as session:
        session.execute(update(Receipt).where(Receipt.id == first.receipt_id).values(lease_until=None))
    (first,) = _claim(sessions)
    with sessions.begin() as session:
        finish(session, first, ReceiptState.CLASSIFIED)
    assert [one.entry.sequence for one in _claim(sessions)] == [2]


def test_a_claim_says_what_the_worker_needs(sessions: Sessions) -> None:
    _register(sessions, 1)
    (held,) = _claim(sessions)
    receipt = _receipt(sessions, held.receipt_id)
    assert (held.entry.name, held.listener, held.size, held.sha256) == (
        receipt.entry,
        "listener",
        receipt.size,
        receipt.sha256,
    )
    assert held.received_at == receipt.received_at
    assert held.received_at.tzinfo is not None
    assert (held.attempts, held.stored) == (0, False)


def test_a_worker_takes_what_it_can_see_and_learns_what_it_cannot(sessions: Sessions) -> None:
    _register(sessions, 2)
    with sessions.begin() as session:
        assert claim(session, 10, 60, []) == []
        assert claim(session, 10, 60, ["another"]) == []
        assert waits_elsewhere(session, ["another"]) == waits_elsewhere(session, []) == "listener"
        assert waits_elsewhere(session, ["listener"]) is None
        # one that is stored is in nobody's spool
        session.execute(update(Receipt).where(Receipt.sequence == 1).values(stored_at=ago(1)))
        assert [one.entry.sequence for one in claim(session, 10, 60, ["another"])] == [1]
        assert [one.entry.sequence for one in claim(session, 10, 60, ["listener"])] == [2]
        session.execute(update(Receipt).values(stored_at=ago(1)))
        assert waits_elsewhere(session, ["another"]) is None


def test_a_claim_counts_no_attempt_and_a_start_does(sessions: Sessions) -> None:
    _register(sessions, 2)
    started, waiting = _claim(sessions)
    with sessions.begin() as session:
        assert start_attempt(session, started)
    assert _receipt(sessions, started.receipt_id).attempts == 1
    assert _receipt(sessions, waiting.receipt_id).attempts == 0


def test_an_expired_lease_is_claimed_again_and_the_old_holder_can_do_nothing(sessions: Sessions) -> None:
    _register(sessions, 1)
    (old,) = _claim(sessions)
    _expire(sessions)
    (new,) = _claim(sessions)
    assert new.receipt_id == old.receipt_id
    with sessions.begin() as session:
        assert not start_attempt(session, old)
        assert renew(session, [old], 60) == set()
        assert release(session, [old]) == 0
    with pytest.raises(LeaseLost), sessions.begin() as session:
        finish(session, old, ReceiptState.CLASSIFIED)
    with sessions.begin() as session:
        finish(session, new, ReceiptState.CLASSIFIED)
    with pytest.raises(LeaseLost), sessions.begin() as session:
        finish(session, new, ReceiptState.QUARANTINED)
    assert _receipt(sessions, new.receipt_id).state is ReceiptState.CLASSIFIED


def test_a_late_holder_whom_nobody_replaced_still_finishes(sessions: Sessions) -> None:
    _register(sessions, 1)
    (held,) = _claim(sessions)
    _expire(sessions)
    with sessions.begin() as session:
        finish(session, held, ReceiptState.OUT_OF_SCOPE, "VIEW", "x" * 600)
    receipt = _receipt(sessions, held.receipt_id)
    assert (receipt.state, receipt.reason, len(receipt.detail or "")) == (ReceiptState.OUT_OF_SCOPE, "VIEW", 500)
    assert receipt.lease_token is None
    assert receipt.finished_at is not None


def test_finishing_as_pending_is_no_legal_move(sessions: Sessions) -> None:
    _register(sessions, 1)
    (held,) = _claim(sessions)
    with pytest.raises(IllegalMove), sessions.begin() as session:
        finish(session, held, ReceiptState.PENDING)


def test_renewal_keeps_others_away(sessions: Sessions) -> None:
    _register(sessions, 2)
    held = _claim(sessions)
    _expire(sessions)
    with sessions.begin() as session:
        assert renew(session, held[:1], 60) == {held[0].receipt_id}
    assert [one.receipt_id for one in _claim(sessions)] == [held[1].receipt_id]


def test_release_gives_back_at_once_or_later_and_refunds(sessions: Sessions) -> None:
    _register(sessions, 3)
    plain, started, delayed = _claim(sessions)
    with sessions.begin() as session:
        start_attempt(session, started)
        assert release(session, [plain]) == 1
        assert release(session, [started], refund=True) == 1
        assert release(session, [delayed], delay_seconds=100) == 1
    again = _claim(sessions)
    assert [(one.receipt_id, one.attempts) for one in again] == [(plain.receipt_id, 0), (started.receipt_id, 0)]


def test_a_refund_takes_back_no_start_of_an_earlier_claim(sessions: Sessions) -> None:
    _register(sessions, 2)
    for _ in range(2):
        claims = _claim(sessions)
        with sessions.begin() as session:
            start_attempt(session, claims[0])
            release(session, claims)
    never_started, started = reversed(_claim(sessions))
    assert (started.attempts, never_started.attempts) == (2, 0)
    with sessions.begin() as session:
        start_attempt(session, started)
        assert release(session, [started, never_started], refund=True) == 2
    assert [one.attempts for one in _claim(sessions)] == [2, 0]


def test_a_claim_tells_what_was_given_back_from_what_its_holder_left(sessions: Sessions) -> None:
    _register(sessions, 2)
    given_back, left = _claim(sessions)
    assert not given_back.abandoned
    with sessions.begin() as session:
        release(session, [given_back])
        session.execute(update(Receipt).where(Receipt.id == left.receipt_id).values(lease_until=ago(1)))
    assert [one.abandoned for one in _claim(sessions)] == [False, True]


def test_the_lease_runs_by_the_databases_clock(sessions: Sessions) -> None:
    _register(sessions, 1)
    (held,) = _claim(sessions, seconds=120)
    receipt = _receipt(sessions, held.receipt_id)
    assert receipt.lease_until is not None
    assert 110 < -(ago(0) - receipt.lease_until).total_seconds() < 121


def test_a_lease_left_ahead_by_a_clock_that_was_set_back_is_over(sessions: Sessions) -> None:
    _register(sessions, 2)
    dead, held = _claim(sessions, seconds=60)
    with sessions.begin() as session:
        session.execute(update(Receipt).where(Receipt.id == dead.receipt_id).values(lease_until=ago(-86_400)))
    (again,) = _claim(sessions, seconds=60)
    assert again.receipt_id == dead.receipt_id
    with sessions.begin() as session:
        assert not start_attempt(session, dead)
        assert start_attempt(session, held)


# on SQLite a writer that is stopped stops the others too, on the one host that there is
@pytest.mark.parametrize("ledger_settings", ["postgresql"], indirect=True)
def test_row_02_a_holder_stopped_within_a_transaction_locks_no_longer_than_a_lease(
    ledger_settings: Settings, sessions: Sessions
) -> None:
    _register(sessions, 2)
    stopped = make_engine(ledger_settings.model_copy(update={"lease_seconds": 0.5}))
    with pytest.raises(OperationalError), make_sessions(stopped).begin() as session:  # noqa: PT012 - at the commit
        # its rows are locked, so whoever claims passes them over
        assert len(claim(session, 10, 60)) == 2
        assert len(wait_until(lambda: _claim(sessions), 30, "another takes them")) == 2
    # and it goes on with a new connection
    with make_sessions(stopped).begin() as session:
        assert claim(session, 10, 60) == []
    stopped.dispose()


def test_many_workers_never_claim_the_same_receipt(sessions: Sessions) -> None:
    _register(sessions, 200)
    start = threading.Barrier(6)

    def work() -> list[int]:
        start.wait()
        mine: list[int] = []
        while True:
            with sessions.begin() as session:
                held = claim(session, 7, 60)
            if not held:
                return mine
            for one in held:
                with sessions.begin() as session:
                    finish(session, one, ReceiptState.CLASSIFIED)
            mine += [one.receipt_id for one in held]

    with ThreadPoolExecutor(6) as pool:
        taken = [number for future in [pool.submit(work) for _ in range(6)] for number in future.result()]
    assert set(Counter(taken).values()) == {1}
    assert len(taken) == 200


def test_of_many_holders_of_one_token_one_finishes(sessions: Sessions) -> None:
    _register(sessions, 1)
    (held,) = _claim(sessions)
    start = threading.Barrier(6)

    def work(state: ReceiptState) -> bool:
        start.wait()
        try:
            with sessions.begin() as session:
                finish(session, held, state)
        except LeaseLost:
            return False
        return True

    states = [ReceiptState.CLASSIFIED, ReceiptState.QUARANTINED, ReceiptState.OUT_OF_SCOPE] * 2
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, states)) == 1


def test_read_modify_write_loses_no_update(sessions: Sessions) -> None:
    _register(sessions, 1)

    def work() -> None:
        for _ in range(20):
            with sessions.begin() as session:
                receipt = session.scalars(select(Receipt).with_for_update()).one()
                receipt.attempts += 1

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    with sessions() as session:
        assert session.scalar(select(Receipt.attempts)) == 80


def test_a_state_outside_the_vocabulary_is_refused_by_the_database(sessions: Sessions) -> None:
    _register(sessions, 1)
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.execute(text("UPDATE receipt SET state = 'LOST'"))
