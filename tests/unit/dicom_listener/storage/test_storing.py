from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.spool import Spool
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_listener.services import Request, Sender
from dicom_listener.status import Answer, StoreStatus
from dicom_listener.storage import file_meta
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import STEP, InstanceFile, SpoolWriter
from dicom_listener.storage.storing import StoreReception, StoreService
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, IMPLICIT, ITEM_END, data_set, element, encoded_for

MEGABYTE = 1 << 20
INSTANCE = "1.2.3"
SENDER = Sender("SENDER", ipaddress.ip_address("192.0.2.1"), "LUNGWATCH", None)
REQUEST = Request(SENDER, CR_STORAGE, EXPLICIT, CR_STORAGE, INSTANCE, None, has_data_set=True)


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "listener")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(spool: Spool, clock: Clock) -> StoreService:
    return StoreService(SpoolWriter(spool), Watermark(spool.root, 0.0, 0), "OURS", clock)


def cut(content: bytes, size: int) -> Iterator[memoryview]:
    return (memoryview(content)[start : start + size] for start in range(0, len(content), size))


def send(service: StoreService, content: bytes, request: Request = REQUEST, size: int = 1000) -> Answer:
    reception = service.begin(request)
    for fragment in cut(content, size):
        reception.write(fragment)
    return reception.finish()


def kept(spool: Spool) -> list[Path]:
    """What is on disk; temporary files are none of it."""
    return [path for folder in (spool.temporary, spool.new) for path in sorted(folder.iterdir())]


def strip_meta(content: bytes) -> bytes:
    return content[144 + int.from_bytes(content[140:144], "little") :]


@pytest.mark.parametrize("syntax", SUPPORTED_TRANSFER_SYNTAXES)
def test_the_bytes_are_kept_as_they_came_in_every_syntax(service: StoreService, spool: Spool, syntax: str) -> None:
    content = encoded_for(syntax, INSTANCE)
    assert send(service, content, replace(REQUEST, transfer_syntax=syntax), 7) == StoreStatus.STORED.answer
    (stored,) = kept(spool)
    assert strip_meta(stored.read_bytes()) == content
    assert syntax.encode() in stored.read_bytes()[:400]


def test_file_meta_names_both_applications(service: StoreService, spool: Spool) -> None:
    send(service, data_set(INSTANCE))
    send(service, data_set(INSTANCE), replace(REQUEST, sender=replace(SENDER, ae_title=None, called_ae_title=None)))
    first, second = (path.read_bytes()[:400] for path in kept(spool))
    assert (b"SENDER" in first, b"LUNGWATCH" in first) == (True, True)
    assert (b"SENDER" in second, b"OURS" in second) == (False, True)


def test_the_memory_of_a_fragment_is_the_callers_again(service: StoreService, spool: Spool) -> None:
    content = data_set(INSTANCE, pixels=MEGABYTE)
    buffer = bytearray(1000)
    reception = service.begin(REQUEST)
    for fragment in cut(content, len(buffer)):
        buffer[: len(fragment)] = fragment
        reception.write(memoryview(buffer)[: len(fragment)])
        buffer[:] = bytes(len(buffer))
    assert reception.finish() == StoreStatus.STORED.answer
    assert strip_meta(kept(spool)[0].read_bytes()) == content


def test_memory_stays_flat_however_large_it_is(service: StoreService) -> None:
    # lazily imported things and the log's own first
    send(service, data_set(INSTANCE))
    reception = service.begin(REQUEST)
    fragment = memoryview(bytes(128 * 1024))
    tracemalloc.start()
    reception.write(memoryview(data_set(INSTANCE, pixel_data=element(0x7FE00010, "OW", b"", length=64 * MEGABYTE))))
    for _ in range(64 * MEGABYTE // len(fragment)):
        reception.write(fragment)
    assert reception.finish() == StoreStatus.STORED.answer
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


WRONG_COMMANDS = [
    *((replace(REQUEST, sop_instance_uid=uid), StoreStatus.BAD_INSTANCE_UID) for uid in (None, "", "1", "1.", ".1")),
    *(
        (replace(REQUEST, sop_instance_uid=uid), StoreStatus.BAD_INSTANCE_UID)
        for uid in ("1.2 ", "1.a", "\u0661.2", "1." + "2" * 63, "../../x", "1.2/../../a")
    ),
    (replace(REQUEST, sop_class_uid=None), StoreStatus.WRONG_CLASS),
    (replace(REQUEST, sop_class_uid="1.2.3"), StoreStatus.WRONG_CLASS),
    (replace(REQUEST, sop_class_uid="x", abstract_syntax="x"), StoreStatus.WRONG_CLASS),
    (replace(REQUEST, has_data_set=False), StoreStatus.EMPTY),
    # the first of several reasons
    (replace(REQUEST, sop_instance_uid=None, sop_class_uid=None, has_data_set=False), StoreStatus.BAD_INSTANCE_UID),
    (replace(REQUEST, sop_class_uid=None, has_data_set=False), StoreStatus.WRONG_CLASS),
]


@pytest.mark.parametrize(("request_", "status"), WRONG_COMMANDS)
def test_a_wrong_command_is_refused_before_a_byte_is_written(
    service: StoreService, spool: Spool, request_: Request, status: StoreStatus
) -> None:
    reception = service.begin(request_)
    reception.write(memoryview(data_set(INSTANCE)))
    assert kept(spool) == []
    assert reception.finish() == status.answer


@pytest.mark.parametrize("instance", ["1.2.03", "01.2", "0.0", "1." + "2" * 62])
def test_uids_that_are_merely_unusual_are_taken(service: StoreService, instance: str) -> None:
    answer = send(service, data_set(instance), replace(REQUEST, sop_instance_uid=instance))
    assert answer == StoreStatus.STORED.answer


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", StoreStatus.EMPTY),
        (b"hello, this is no DICOM at all, however long it may be", StoreStatus.UNPARSABLE),
        (bytes(128) + b"DICM" + data_set(INSTANCE), StoreStatus.UNPARSABLE),
        (data_set(INSTANCE) + ITEM_END, StoreStatus.UNPARSABLE),
        (data_set(INSTANCE)[:-1], StoreStatus.TRUNCATED),
        (data_set(None), StoreStatus.NO_UIDS),
        (data_set(INSTANCE, None), StoreStatus.NO_UIDS),
        (data_set("1.2.4"), StoreStatus.MISMATCH),
        (data_set(INSTANCE, "1.2.840.10008.5.1.4.1.1.2"), StoreStatus.MISMATCH),
        (data_set("1.2.4")[:-1], StoreStatus.MISMATCH),
    ],
    ids=["empty", "text", "file", "delimiter", "cut", "no instance", "no class", "instance", "class", "cut and other"],
)
@pytest.mark.parametrize("size", [1, 9, 100_000])
def test_a_wrong_data_set_is_refused_and_nothing_is_left(
    service: StoreService, spool: Spool, content: bytes, status: StoreStatus, size: int
) -> None:
    assert send(service, content, size=size) == status.answer
    assert kept(spool) == []


def test_empty_fragments_are_nothing(service: StoreService, spool: Spool) -> None:
    reception = service.begin(REQUEST)
    reception.write(memoryview(b""))
    assert reception.finish() == StoreStatus.EMPTY.answer
    reception = service.begin(REQUEST)
    for fragment in (b"", data_set(INSTANCE), b""):
        reception.write(memoryview(fragment))
    assert reception.finish() == StoreStatus.STORED.answer
    assert len(kept(spool)) == 1


def test_another_instances_first_fragment_never_touches_the_disk(service: StoreService, spool: Spool) -> None:
    reception = service.begin(REQUEST)
    reception.write(memoryview(data_set("1.2.4", pixels=MEGABYTE))[:1000])
    assert kept(spool) == []
    reception.write(memoryview(bytes(1000)))
    assert kept(spool) == []
    assert reception.finish() == StoreStatus.MISMATCH.answer


def test_what_is_refused_later_leaves_the_disk_at_once(service: StoreService, spool: Spool) -> None:
    reception = service.begin(REQUEST)
    reception.write(memoryview(data_set(INSTANCE)))
    assert len(kept(spool)) == 1
    reception.write(memoryview(ITEM_END))
    assert kept(spool) == []
    for fragment in cut(bytes(MEGABYTE), 1000):
        reception.write(fragment)
    assert reception.finish() == StoreStatus.UNPARSABLE.answer


def test_an_abandoned_one_leaves_nothing(service: StoreService, spool: Spool) -> None:
    for fragments in (0, 1, 3):
        reception = service.begin(REQUEST)
        for fragment in itertools.islice(cut(data_set(INSTANCE), 100), fragments):
            reception.write(fragment)
        reception.abandon()
        reception.abandon()
        assert kept(spool) == []
    assert send(service, data_set(INSTANCE)) == StoreStatus.STORED.answer
    assert [path.name.split("-")[1] for path in kept(spool)] == ["0000000001"]


class SmallDisk:
    """A disk of so many bytes, all of whose use is in the spool."""

    def __init__(self, spool: Spool, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spool, self.size = spool, size
        self.statvfs = os.statvfs(spool.root)
        monkeypatch.setattr(os, "statvfs", lambda _: self)

    f_frsize = 1
    f_files = f_favail = 0

    @property
    def f_blocks(self) -> int:
        return self.size

    @property
    def f_bavail(self) -> int:
        return max(self.size - sum(path.stat().st_size for path in kept(self.spool)), 0)


def test_a_disk_below_the_watermark_gets_no_byte_and_it_recovers(
    service: StoreService, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(spool, 100, monkeypatch)
    reception = service.begin(REQUEST)
    # refused for the disk before anything is known of the data set
    reception.write(memoryview(b"no data set at all"))
    assert kept(spool) == []
    # space that comes back does not bring back what was swallowed
    disk.size = 100 * MEGABYTE
    reception.write(memoryview(data_set(INSTANCE)))
    assert reception.finish() == StoreStatus.NO_SPACE.answer
    assert send(service, data_set(INSTANCE)) == StoreStatus.STORED.answer


def test_a_disk_that_fills_while_receiving_refuses_at_the_watermark(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = StoreService(SpoolWriter(spool), Watermark(spool.root, 0.5, 0), "OURS")
    disk = SmallDisk(spool, 12 * MEGABYTE, monkeypatch)
    reception = service.begin(REQUEST)
    lowest = disk.size
    for fragment in cut(data_set(INSTANCE, pixel_data=element(0x7FE00010, "OW", bytes(9 * MEGABYTE))), 100_000):
        reception.write(fragment)
        lowest = min(lowest, disk.f_bavail)
    assert reception.finish() == StoreStatus.NO_SPACE.answer
    assert kept(spool) == []
    # to the last fragment that fits, of which not all is written yet, and not below
    assert 0 <= lowest - disk.size // 2 < 100_000 + STEP


def test_as_many_are_taken_together_as_fit_together(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    service = StoreService(SpoolWriter(spool), Watermark(spool.root, 0.0, MEGABYTE), "OURS")
    disk = SmallDisk(spool, 4 * MEGABYTE, monkeypatch)
    content = data_set(INSTANCE, pixel_data=element(0x7FE00010, "OW", bytes(MEGABYTE - 2000)))
    receptions = [service.begin(REQUEST) for _ in range(5)]
    for fragment in cut(content, 50_000):
        for reception in receptions:
            reception.write(fragment)
        assert disk.f_bavail >= MEGABYTE
    answers = [reception.finish() for reception in receptions]
    assert answers.count(StoreStatus.STORED.answer) == 3
    assert answers.count(StoreStatus.NO_SPACE.answer) == 2
    assert len(kept(spool)) == 3


STEPS_THAT_FAIL = ["statvfs", "open", "write", "fsync", "rename"]


@pytest.mark.parametrize("step", STEPS_THAT_FAIL)
def test_a_disk_that_fails_at_any_step_is_not_now(
    service: StoreService, spool: Spool, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "Canary^Patient")

    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(*(Path, step) if step == "rename" else (os, step), fail)
        answer = send(service, data_set(INSTANCE))
    assert answer == StoreStatus.CANNOT_STORE.answer
    assert kept(spool) == []
    assert [(line["event"], line["why"]) for line in logs] == [("instance_not_stored", "No space left on device")]
    assert "Canary" not in str(logs)
    # a failure spends no number
    assert send(service, data_set(INSTANCE)) == StoreStatus.STORED.answer
    assert [path.name.split("-")[1] for path in kept(spool)] == ["0000000001"]


@pytest.mark.parametrize("place", ["begin", "write", "finish"])
def test_what_nobody_foresaw_is_not_now_and_never_cannot_understand(
    service: StoreService, spool: Spool, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Canary^Patient")

    match place:
        case "begin":
            monkeypatch.setattr(file_meta, "encode", fail)
        case "write":
            monkeypatch.setattr(InstanceFile, "write", fail)
        case _:
            monkeypatch.setattr(InstanceFile, "commit", fail)
    with capture_logs() as logs:
        answer = send(service, data_set(INSTANCE))
    assert answer == StoreStatus.CANNOT_STORE.answer
    assert kept(spool) == []
    assert [line["event"] for line in logs] == ["instance_not_stored"]
    assert "Canary" not in str(logs)


def test_success_is_logged_with_its_facts(service: StoreService, spool: Spool, clock: Clock) -> None:
    with capture_logs() as logs:
        reception = service.begin(REQUEST)
        clock.seconds = 1.5
        reception.write(memoryview(data_set(INSTANCE)))
        reception.finish()
    facts = {"peer": "SENDER", "sequence": 1, "bytes": kept(spool)[0].stat().st_size, "seconds": 1.5}
    assert logs == [{"event": "instance_received", "log_level": "info", **facts}]


def test_refusals_cannot_fill_the_log(service: StoreService, clock: Clock) -> None:
    with capture_logs() as logs:
        for _ in range(50):
            send(service, data_set("1.2.4"))
            send(service, b"")
        clock.seconds = 61.0
        send(service, b"")
    assert [(line["event"], line["status"], line["left_out"]) for line in logs] == [
        ("instance_refused", "MISMATCH", 0),
        ("instance_refused", "EMPTY", 0),
        ("instance_refused", "EMPTY", 49),
    ]


def test_many_threads_store_side_by_side(service: StoreService, spool: Spool) -> None:
    def store(number: int) -> Answer:
        instance = f"1.2.{number}"
        request = replace(REQUEST, sop_instance_uid=instance, transfer_syntax=(EXPLICIT, IMPLICIT)[number % 2])
        return send(service, data_set(instance, explicit=not number % 2, pixels=100_000), request, 5000)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store, range(40))) == {StoreStatus.STORED.answer}
    numbers = sorted(int(path.name.split("-")[1]) for path in kept(spool))
    assert numbers == list(range(1, 41))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_is_sent_the_answer_is_one_of_ours_and_the_disk_agrees(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    spool = Spool(tmp_path_factory.mktemp("any"), "listener")
    service = StoreService(SpoolWriter(spool), Watermark(spool.root, 0.0, 0), "OURS")
    content = bytearray(data.draw(st.sampled_from([data_set(INSTANCE), data_set(INSTANCE, explicit=False), b""])))
    for _ in range(data.draw(st.integers(0, 2)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content += data.draw(st.binary(max_size=12))
    reception: StoreReception = service.begin(REQUEST)
    for fragment in cut(bytes(content), data.draw(st.sampled_from([1, 50, 5000]))):
        reception.write(fragment)
    answer = reception.finish()
    assert answer in {status.answer for status in StoreStatus}
    assert len(kept(spool)) == (answer == StoreStatus.STORED.answer)
    if answer == StoreStatus.STORED.answer:
        assert strip_meta(kept(spool)[0].read_bytes()) == content
