from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from core.spool import Spool
from dicom_listener.disk import Watermark
from dicom_listener.handlers import Refused, StoreHandler, StoreRequest
from dicom_listener.instance_file import SpoolWriter
from dicom_listener.status import StoreStatus
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, data_set


def handler(folder: Path, *, minimum_free: int = 0) -> StoreHandler:
    spool = Spool(folder, "listener")
    return StoreHandler(SpoolWriter(spool), Watermark(folder, 0.0, minimum_free), "LUNGWATCH")


def request(data: bytes, instance: str | None = "1.2.3") -> StoreRequest:
    return StoreRequest(
        sop_class_uid=CR_STORAGE,
        sop_instance_uid=instance,
        abstract_syntax=CR_STORAGE,
        transfer_syntax=EXPLICIT,
        data_set=data,
        explicit=True,
        sender="SENDER",
        receiver="LUNGWATCH",
    )


def test_the_disk_is_asked_before_the_data_set_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        handler(tmp_path, minimum_free=1 << 60).store(request(b"no data set at all"))
    assert refusal.value.status is StoreStatus.NO_SPACE
    assert list(Spool(tmp_path, "listener").temporary.iterdir()) == []


@pytest.mark.parametrize("instance", ["1.2.03", "01.2", "0.0", "1." + "2" * 62])
def test_uids_that_are_merely_unusual_are_taken(tmp_path: Path, instance: str) -> None:
    assert handler(tmp_path).store(request(data_set(instance), instance))[0] == 1


@pytest.mark.parametrize("instance", [None, "", "1", "1.", ".1", "1.2 ", "1.a", "\u0661.2", "1." + "2" * 63])
def test_what_is_no_uid_is_refused(tmp_path: Path, instance: str | None) -> None:
    with pytest.raises(Refused) as refusal:
        handler(tmp_path).store(request(data_set("1.2"), instance))
    assert refusal.value.status is StoreStatus.BAD_INSTANCE_UID


class Unforeseen:
    """An event that fails in a way nobody thought of, with received text in the message."""

    assoc = SimpleNamespace(peer="SENDER")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("Canary^Patient")


def test_what_nobody_foresaw_is_not_now_and_never_cannot_understand(tmp_path: Path) -> None:
    with capture_logs() as logs:
        answer = handler(tmp_path)(Unforeseen())
    assert isinstance(answer, Dataset)
    assert (answer.Status, answer.ErrorComment) == (0xA700, StoreStatus.CANNOT_STORE.comment)
    assert [line["event"] for line in logs] == ["instance_not_stored"]
    assert "Canary" not in str(logs)
