from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.commitment_request import Reference
from core.spool import Entry
from db.commitments import Copy
from db.vocabulary import ReceiptState
from worker.commitment.vouching import FailureReason, Standing, stand

WANTED = Reference("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
OTHER_CLASS = "1.2.840.10008.5.1.4.1.1.2"
_serial = itertools.count(1)

S = ReceiptState


def copy(state: ReceiptState, sop_class_uid: str | None = WANTED.sop_class_uid) -> Copy:
    return Copy(sop_class_uid, state, "listener", Entry("0" * 20, next(_serial), "a" * 64), 100, stored=True)


def judged(*copies: Copy, there: bool = True, all_known: bool = True, in_time: bool = True) -> Standing | FailureReason:
    return stand(WANTED, copies, lambda _: there, all_known=all_known, in_time=in_time)


@pytest.mark.parametrize("state", [S.CLASSIFIED, S.OUT_OF_SCOPE, S.HEADER_REVISION, S.CONFLICT, S.DUPLICATE])
def test_what_was_read_and_is_there_is_held(state: ReceiptState) -> None:
    assert judged(copy(state)) is Standing.HELD
    # whatever else is still open
    assert judged(copy(state), copy(S.PENDING), all_known=False) is Standing.HELD


@pytest.mark.parametrize("state", sorted(set(ReceiptState) - {S.PENDING, S.QUARANTINED}))
def test_without_its_file_it_is_not_available(state: ReceiptState) -> None:
    assert judged(copy(state), there=False) is FailureReason.NO_SUCH_INSTANCE


@pytest.mark.parametrize("state", sorted(ReceiptState))
def test_another_class_is_a_conflict(state: ReceiptState) -> None:
    assert judged(copy(state, OTHER_CLASS)) is FailureReason.CLASS_INSTANCE_CONFLICT
    assert judged(copy(state, None)) is FailureReason.CLASS_INSTANCE_CONFLICT


def test_nothing_is_not_available_once_all_is_known() -> None:
    assert judged() is FailureReason.NO_SUCH_INSTANCE
    assert judged(all_known=False) is Standing.UNDECIDED
    assert judged(all_known=False, in_time=False) is FailureReason.NO_SUCH_INSTANCE


def test_what_waits_for_a_worker_is_waited_for() -> None:
    assert judged(copy(S.PENDING)) is Standing.UNDECIDED
    assert judged(copy(S.PENDING), in_time=False) is FailureReason.PROCESSING_FAILURE
    assert judged(copy(S.PENDING), copy(S.QUARANTINED)) is Standing.UNDECIDED


def test_what_is_unreadable_is_not_vouched_for() -> None:
    assert judged(copy(S.QUARANTINED)) is FailureReason.PROCESSING_FAILURE
    # the same unreadable bytes again
    assert judged(copy(S.QUARANTINED), copy(S.DUPLICATE)) is FailureReason.PROCESSING_FAILURE
    # a copy that could be read makes good for it
    assert judged(copy(S.QUARANTINED), copy(S.CLASSIFIED)) is Standing.HELD
    assert judged(copy(S.QUARANTINED), there=False) is FailureReason.NO_SUCH_INSTANCE


@given(
    states=st.lists(st.sampled_from(ReceiptState), max_size=5),
    classes=st.lists(st.sampled_from([WANTED.sop_class_uid, OTHER_CLASS]), min_size=5, max_size=5),
    all_known=st.booleans(),
    in_time=st.booleans(),
)
def test_held_means_a_file_of_that_class(
    states: list[ReceiptState], classes: list[str], *, all_known: bool, in_time: bool
) -> None:
    copies = [copy(state, name) for state, name in zip(states, classes, strict=False)]
    seen: list[Copy] = []

    def is_there(asked: Copy) -> bool:
        seen.append(asked)
        return True

    found = stand(WANTED, copies, is_there, all_known=all_known, in_time=in_time)
    if found is Standing.HELD:
        assert seen[-1].sop_class_uid == WANTED.sop_class_uid
        assert seen[-1].state not in {S.PENDING, S.QUARANTINED}
    if not in_time:
        assert found is not Standing.UNDECIDED
