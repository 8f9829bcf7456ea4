from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.reconcile import FileFact, Finding, Misfit, ReceiptFact, Reconciliation, compare, gaps
from db.vocabulary import ReceiptState
from tests.factories.rows import ago, entry

NOW = ago(0)
ENTRY = entry(1)
SHARD = ENTRY.sha256[:2]
PENDING = ReceiptFact(ENTRY, "listener", 10, ReceiptState.PENDING, stored=False)
STORED = ReceiptFact(ENTRY, "listener", 10, ReceiptState.CLASSIFIED, stored=True)
REMOVING = replace(STORED, removing=True)
REMOVED = replace(STORED, removed=True)
IN_NEW = FileFact(ENTRY, "listener", 10, ago(300))
IN_STORED = FileFact(ENTRY, None, 10, ago(300), SHARD)


def _misfits(files: list[FileFact], receipts: list[ReceiptFact]) -> list[Misfit]:
    found = compare(files, receipts, NOW, 60)
    assert set(found) <= {ENTRY}
    return [finding.misfit for finding in found.get(ENTRY, [])]


@pytest.mark.parametrize(
    ("files", "receipts", "expected"),
    [
        pytest.param([IN_NEW], [PENDING], [], id="waits for a worker"),
        pytest.param([IN_STORED], [STORED], [], id="done"),
        pytest.param([IN_NEW], [replace(STORED, stored=False)], [], id="done, not moved yet"),
        pytest.param([IN_STORED], [replace(STORED, stored=False)], [], id="moved, not noted yet"),
        pytest.param([IN_STORED], [replace(PENDING, stored=True)], [], id="put back by a person"),
        pytest.param([replace(IN_NEW, modified_at=ago(5))], [], [], id="not registered yet"),
        pytest.param([IN_NEW], [], [Misfit.UNREGISTERED], id="never registered"),
        pytest.param([IN_STORED], [], [Misfit.NO_RECEIPT], id="stored without receipt"),
        pytest.param([], [PENDING], [Misfit.MISSING], id="lost before work"),
        pytest.param([], [STORED], [Misfit.MISSING], id="lost after work"),
        pytest.param([IN_NEW, IN_STORED], [STORED], [Misfit.TWICE], id="in both places"),
        pytest.param([IN_NEW, IN_STORED], [], [Misfit.TWICE], id="in both places without receipt"),
        pytest.param([IN_NEW], [STORED], [Misfit.MISPLACED], id="back in the spool"),
        pytest.param([replace(IN_NEW, listener="other")], [PENDING], [Misfit.MISPLACED], id="another spool"),
        pytest.param([replace(IN_STORED, shard="zz")], [STORED], [Misfit.MISPLACED], id="another shard"),
        pytest.param([replace(IN_STORED, size=9)], [STORED], [Misfit.SIZE], id="cut short"),
        pytest.param([], [REMOVING], [], id="a retention run was cut short after it"),
        pytest.param([IN_STORED], [REMOVING], [], id="a retention run was cut short before it"),
        pytest.param([], [REMOVED], [], id="removed by policy"),
        pytest.param([IN_STORED], [REMOVED], [Misfit.REMOVED], id="removed by policy, and back"),
    ],
)
def test_every_way_not_to_fit(files: list[FileFact], receipts: list[ReceiptFact], expected: list[Misfit]) -> None:
    assert _misfits(files, receipts) == expected


@given(st.sets(st.integers(1, 60)))
def test_gaps_are_exactly_what_is_missing_below_the_highest(present: set[int]) -> None:
    missing = [place for first, last in gaps(sorted(present)) for place in range(first, last + 1)]
    assert missing == sorted(set(range(1, max(present, default=0) + 1)) - present)


def test_only_what_balances_without_findings_is_clean() -> None:
    clean = Reconciliation(
        acknowledged=6,
        terminal=3,
        pending=2,
        waiting=1,
        unregistered=0,
        files=6,
        removed=0,
        removing=0,
        digests=False,
        findings=(),
    )
    assert clean.clean
    assert not replace(clean, acknowledged=7).clean
    assert not replace(clean, findings=(Finding(Misfit.GAP, "x 1", None, ""),)).clean
