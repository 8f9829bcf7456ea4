from __future__ import annotations

from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from dicom_listener.status import LONGEST_COMMENT, StoreStatus


def test_each_status_is_one_the_storage_service_knows() -> None:
    assert {status.code for status in StoreStatus} <= set(STORAGE_SERVICE_CLASS_STATUS)


def test_each_refusal_says_why_in_one_short_line() -> None:
    for status in StoreStatus:
        assert bool(status.comment) is (status is not StoreStatus.STORED)
        assert len(status.comment) <= LONGEST_COMMENT
        assert status.comment.isascii()
        assert status.value.source.startswith("PS3.")


def test_only_what_may_pass_by_itself_says_not_now() -> None:
    assert {status for status in StoreStatus if status.code == 0xA700} == {
        StoreStatus.NO_SPACE,
        StoreStatus.CANNOT_STORE,
    }
