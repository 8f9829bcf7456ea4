"""The demo must never call a day complete that is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy.orm import Session, sessionmaker

from cli.demo import report
from cli.demo.account import Account, Sent, accounts, progress, surplus
from cli.demo.sender import Answer
from cli.demo.sending import Sending
from cli.demo.sheet import draw, headline
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.vocabulary import Outcome, ReceiptState

WHEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
STORED = Answer(0)


def sending(uid: str, *expected: ReceiptState, title: str = "chest") -> Sending:
    return Sending(title, Path("x"), f"{uid}.0", "1.2", uid, "1.2.840.10008.1.2.1", frozenset(expected))


@pytest.fixture
def ledger(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Two studies: one classified and its duplicate, one unreadable; settled both."""
    with sessions.begin() as session:
        for number, (uid, outcome) in enumerate((("1.1", Outcome.NOT_SUSPECTED), ("1.2", Outcome.NO_RESULT)), 1):
            session.add(
                Study(
                    id=number, study_uid=f"{uid}.0", revision=1, outcome=outcome, first_received_at=WHEN,
                    last_received_at=WHEN, settled_at=WHEN,
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Image(
                    id=number, study_id=number, sop_instance_uid=uid, sop_class_uid="1", revision=1, outcome=outcome,
                    transfer_syntax_uid="1.2", receipt_sha256="0" * 64, annotations=[],
                )
            )  # fmt: skip
            session.flush()
        # the duplicate comes through another process than the first
        session.add(receipt(1, ReceiptState.CLASSIFIED, 1))
        session.add(receipt(2, ReceiptState.DUPLICATE, 1))
        session.add(receipt(3, ReceiptState.QUARANTINED, 2))
    return sessions


def receipt(sequence: int, state: ReceiptState, image: int | None) -> Receipt:
    """One a second; what two processes receive in turn is named by two incarnations, the first of them sorting last."""
    received = WHEN + timedelta(seconds=sequence)
    return Receipt(
        entry=f"e{sequence}", listener="listener", incarnation=("0" * 20, "f" * 20)[sequence % 2], sequence=sequence,
        sha256=f"{sequence:064d}", size=1, received_at=received, registered_at=WHEN, due_at=WHEN, urgency=10,
        state=state, image_id=image, study_id=image,
        finished_at=None if state is ReceiptState.PENDING else received + timedelta(seconds=2),
    )  # fmt: skip


DAY = [
    Sent(sending("1.1", ReceiptState.CLASSIFIED), STORED),
    Sent(sending("1.2", ReceiptState.QUARANTINED), STORED),
    Sent(sending("1.1", ReceiptState.DUPLICATE), STORED),
]


def problems(ledger: sessionmaker[Session], day: list[Sent]) -> list[str | None]:
    return [one.problem for one in accounts(ledger, day)]


def test_a_complete_day_has_no_problem(ledger: sessionmaker[Session]) -> None:
    found = accounts(ledger, DAY)
    assert [one.problem for one in found] == [None] * 3
    assert [one.receipt.state for one in found if one.receipt] == ["CLASSIFIED", "QUARANTINED", "DUPLICATE"]
    assert found[0].receipt is not None
    assert found[0].receipt.seconds == 2.0
    assert surplus(ledger, DAY) == 0
    seen = progress(ledger)
    assert (seen.registered, seen.disposed, seen.studies, seen.settled) == (3, 3, 2, 2)


def test_one_that_vanished_is_named(ledger: sessionmaker[Session]) -> None:
    day = [*DAY, Sent(sending("1.9", ReceiptState.CLASSIFIED), STORED)]
    assert problems(ledger, day) == [None, None, None, "acknowledged, but the ledger has no receipt of it"]


def test_one_that_was_refused_is_named_and_takes_no_receipt(ledger: sessionmaker[Session]) -> None:
    day = [Sent(sending("1.1", ReceiptState.CLASSIFIED), Answer(0xA700, "status 0xA700")), DAY[1]]
    found = accounts(ledger, day)
    assert found[0].problem == "not acknowledged: status 0xA700"
    assert found[0].receipt is None
    assert found[1].problem is None
    assert surplus(ledger, day) == 2


def test_another_state_than_expected_is_named(ledger: sessionmaker[Session]) -> None:
    day = [Sent(sending("1.1", ReceiptState.OUT_OF_SCOPE), STORED)]
    assert problems(ledger, day) == ["became CLASSIFIED, expected OUT_OF_SCOPE"]


def test_one_still_pending_and_one_unsettled_are_named(ledger: sessionmaker[Session]) -> None:
    with ledger.begin() as session:
        session.add(receipt(5, ReceiptState.PENDING, None))
        study = session.get(Study, 2)
        assert study is not None
        study.settled_at = None
    day = [*DAY, Sent(sending("1.3", ReceiptState.CLASSIFIED), STORED)]
    assert problems(ledger, day) == [None, "its study has not settled", None, "acknowledged, but still pending"]


def test_an_unreadable_header_is_matched_with_the_receipt_left_over(ledger: sessionmaker[Session]) -> None:
    with ledger.begin() as session:
        session.add(receipt(5, ReceiptState.QUARANTINED, None))
    day = [*DAY, Sent(sending("1.3", ReceiptState.QUARANTINED), STORED)]
    assert problems(ledger, day) == [None] * 4


def summary(found: list[Account], **changes: object) -> report.Summary:
    values: dict[str, object] = {
        "accounts": found, "surplus": 0, "serve_exit": 0, "reconciled": True, "reconcile_said": "",
        "seconds_to_listen": 1.0, "seconds": 2.0,
    }  # fmt: skip
    return report.Summary(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surplus": 1}, "+1 receipts beyond"),
        ({"serve_exit": 1}, "exit code 1"),
        ({"reconciled": False, "reconcile_said": "one file has vanished"}, "one file has vanished"),
    ],
)
def test_nothing_but_clean_is_called_clean(
    ledger: sessionmaker[Session], change: dict[str, object], words: str
) -> None:
    found = accounts(ledger, DAY)
    assert summary(found).clean
    unclean = summary(found, **change)
    assert not unclean.clean
    assert any(words in line for line in report.closing(unclean, Path("p.png"), phantoms=True))


def test_the_table_shows_every_instance_and_no_score_for_what_has_none(ledger: sessionmaker[Session]) -> None:
    found = accounts(ledger, DAY)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(report.as_table(summary(found)))
    lines = captured.get().splitlines()
    assert len(lines) == 4
    assert "NOT_SUSPECTED" in lines[1]
    assert "NO_RESULT" in lines[2]
    assert "NOT_SUSPECTED" not in lines[3], "a duplicate has no outcome of its own"


def test_the_sheet_has_a_tile_for_each_and_says_what_is_missing(ledger: sessionmaker[Session], tmp_path: Path) -> None:
    day = [*DAY, Sent(sending("1.9", ReceiptState.CLASSIFIED), STORED)]
    found = accounts(ledger, day)
    assert [headline(one) for one in found] == ["NOT_SUSPECTED", "NO_RESULT", "DUPLICATE", "UNACCOUNTED"]
    sheet = draw(found, tmp_path, "title")
    assert sheet.mode == "RGB"
    assert sheet.width > 4 * 300
    assert draw([], tmp_path, "nothing").width > 0
