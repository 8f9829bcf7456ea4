from __future__ import annotations

import re

import pytest
from pynetdicom.status import (
    GENERAL_STATUS,
    STORAGE_COMMITMENT_SERVICE_CLASS_STATUS,
    STORAGE_SERVICE_CLASS_STATUS,
    VERIFICATION_SERVICE_CLASS_STATUS,
)

from dicom_listener.status import (
    LONGEST_COMMENT,
    TABLES,
    ActionStatus,
    EchoStatus,
    Status,
    StoreStatus,
    UnservedStatus,
)

EVERY = [member for table in TABLES.values() for member in table]
KNOWN: list[tuple[type[Status], object]] = [
    (StoreStatus, STORAGE_SERVICE_CLASS_STATUS),
    (EchoStatus, VERIFICATION_SERVICE_CLASS_STATUS),
    (ActionStatus, STORAGE_COMMITMENT_SERVICE_CLASS_STATUS),
    (UnservedStatus, GENERAL_STATUS),
]


def test_every_table_is_among_the_tables() -> None:
    assert set(TABLES.values()) == set(Status.__subclasses__()) == {table for table, _ in KNOWN}


@pytest.mark.parametrize(("table", "known"), KNOWN)
def test_each_status_is_one_its_service_knows(table: type[Status], known: dict[int, object]) -> None:
    assert {status.code for status in table} <= set(known)


@pytest.mark.parametrize("status", EVERY, ids=str)
def test_each_refusal_says_why_in_one_short_line_and_where_the_standard_says_so(status: Status) -> None:
    assert bool(status.comment) is (status.code != 0x0000)
    assert len(status.comment) <= LONGEST_COMMENT
    # PS3.5 6.2, LO: no backslash, no control characters
    assert status.comment.isascii()
    assert status.comment.isprintable() or not status.comment
    assert "\\" not in status.comment
    assert re.match(r"PS3\.[47] [0-9A-Z]", status.answer.source)
    # a source that names a code names this one
    named = re.search(r"([0-9A-F]{4})H$", status.answer.source)
    assert named is None or int(named[1], 16) == status.code


def test_only_what_may_pass_by_itself_says_not_now() -> None:
    assert {status for status in EVERY if "again" in status.comment} == {
        StoreStatus.NO_SPACE,
        StoreStatus.CANNOT_STORE,
        ActionStatus.NO_SPACE,
        ActionStatus.CANNOT_TAKE,
    }
    assert {status for status in StoreStatus if status.code == 0xA700} == {
        StoreStatus.NO_SPACE,
        StoreStatus.CANNOT_STORE,
    }


def test_cannot_understand_is_never_answered() -> None:
    assert all(status.code != 0xC211 for status in EVERY)
