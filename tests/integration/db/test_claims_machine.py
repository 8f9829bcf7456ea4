"""Registering, claiming, starting, finishing, giving back, expiring, dying: in any order, on both databases.

At every moment acknowledged = terminal + pending, a receipt is finished once,
and nobody finishes under a lease that another one holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from db.base import make_sessions
from db.claims import Claim, LeaseLost, claim, finish, release, renew, start_attempt
from db.models.receipt import Receipt, ReceiptRetry
from db.quarantine import retry
from db.receipts import register
from db.vocabulary import TERMINAL, ReceiptState
from tests.factories.rows import ago, new_receipts


class Crash(Exception):
    """The process dies here: its transaction is never committed."""


class Ledger(RuleBasedStateMachine):
    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.sessions = make_sessions(self.engine)
        with self.sessions.begin() as session:
            session.execute(delete(ReceiptRetry))
            session.execute(delete(Receipt))
        self.acknowledged = 0
        self.held: list[Claim] = []
        # by receipt: the token that holds it, starts since it was registered or put back, terminal state
        self.holder: dict[int, str] = {}
        self.starts: dict[int, int] = {}
        self.done: dict[int, ReceiptState] = {}

    def _commit(self, act: Callable[[Session], Any], *, crash: bool) -> Any:
        try:
            with self.sessions.begin() as session:
                answer = act(session)
                if crash:
                    raise Crash
        except Crash:
            return None
        return answer

    def _pick(self, number: int) -> Claim:
        return self.held[number % len(self.held)]

    def _holds(self, one: Claim) -> bool:
        return self.holder.get(one.receipt_id) == one.token

    @rule(count=st.integers(1, 4), again=st.integers(0, 3), crash=st.booleans())
    def register(self, count: int, again: int, crash: bool) -> None:
        first = max(1, self.acknowledged + 1 - again)
        new = new_receipts(self.acknowledged + count + 1 - first, first=first)
        inserted = self._commit(lambda session: register(session, new, 900), crash=crash)
        if not crash:
            assert inserted == count
            self.acknowledged += count

    @rule(limit=st.integers(1, 4), crash=st.booleans())
    def claim(self, limit: int, crash: bool) -> None:
        taken = self._commit(lambda session: claim(session, limit, 600), crash=crash) or []
        for one in taken:
            assert one.receipt_id not in self.holder
            assert one.receipt_id not in self.done
            assert one.attempts == self.starts.get(one.receipt_id, 0)
            self.holder[one.receipt_id] = one.token
        self.held += taken

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 50), crash=st.booleans())
    def start(self, number: int, crash: bool) -> None:
        one = self._pick(number)
        started = self._commit(lambda session: start_attempt(session, one), crash=crash)
        if not crash:
            assert started == self._still_named(one)
            if started:
                self.holder[one.receipt_id] = one.token
                self.starts[one.receipt_id] = self.starts.get(one.receipt_id, 0) + 1

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 50), state=st.sampled_from(sorted(TERMINAL)), crash=st.booleans())
    def finish(self, number: int, state: ReceiptState, crash: bool) -> None:
        one = self._pick(number)
        may = self._still_named(one)
        try:
            self._commit(lambda session: finish(session, one, state), crash=crash)
        except LeaseLost:
            assert not may
            return
        assert may
        if not crash:
            assert one.receipt_id not in self.done, "finished twice"
            self.done[one.receipt_id] = state
            self.holder.pop(one.receipt_id, None)

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 50), refund=st.booleans(), crash=st.booleans())
    def give_back(self, number: int, refund: bool, crash: bool) -> None:
        one = self._pick(number)
        may = self._still_named(one)
        given = self._commit(lambda session: release(session, [one], refund=refund), crash=crash)
        if not crash:
            assert given == int(may)
            if may:
                self.holder.pop(one.receipt_id, None)
                if refund:
                    self.starts[one.receipt_id] = max(0, self.starts.get(one.receipt_id, 0) - 1)

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 50))
    def renew(self, number: int) -> None:
        one = self._pick(number)
        may = self._still_named(one)
        kept = self._commit(lambda session: renew(session, [one], 600), crash=False)
        assert kept == ({one.receipt_id} if may else set())
        if may:
            self.holder[one.receipt_id] = one.token

    @rule()
    def every_lease_runs_out(self) -> None:
        with self.sessions.begin() as session:
            session.execute(update(Receipt).where(Receipt.lease_until.is_not(None)).values(lease_until=ago(1)))
        self.holder.clear()

    @precondition(lambda self: ReceiptState.QUARANTINED in self.done.values())
    @rule(crash=st.booleans())
    def put_back(self, crash: bool) -> None:
        number = next(one for one, state in self.done.items() if state is ReceiptState.QUARANTINED)
        self._commit(lambda session: retry(session, number), crash=crash)
        if not crash:
            del self.done[number]
            self.starts[number] = 0

    @invariant()
    def acknowledged_is_terminal_plus_pending(self) -> None:
        with self.sessions() as session:
            states = session.execute(select(Receipt.id, Receipt.state, Receipt.attempts)).all()
        assert len(states) == self.acknowledged
        assert {row.id: row.state for row in states if row.state is not ReceiptState.PENDING} == self.done
        assert all(row.attempts == self.starts.get(row.id, 0) for row in states)

    def _still_named(self, one: Claim) -> bool:
        """Whether the ledger still names this claim's token: held, or run out and claimed by nobody since."""
        with self.sessions() as session:
            count = session.scalar(
                select(func.count())
                .select_from(Receipt)
                .where(
                    Receipt.id == one.receipt_id,
                    Receipt.lease_token == one.token,
                    Receipt.state == ReceiptState.PENDING,
                )
            )
        if self._holds(one):
            assert count == 1
        return count == 1


@pytest.mark.timeout(300)
def test_no_order_of_events_loses_or_doubles_a_receipt(engine: Engine) -> None:
    machine = type("BoundLedger", (Ledger,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
