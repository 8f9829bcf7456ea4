from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.spool import Spool
from dicom_listener.registrar.arrivals import LEFTOVER_AGE, Arrivals, leftover_age, sweep_leftovers
from dicom_listener.storage.instance_file import SpoolWriter


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def writer(tmp_path: Path) -> SpoolWriter:
    return SpoolWriter(Spool(tmp_path, "listener"))


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def arrivals(tmp_path: Path, clock: HandClock) -> Arrivals:
    return Arrivals(Spool(tmp_path, "listener"), clock)


def test_what_is_not_registered_arrives_again(arrivals: Arrivals, writer: SpoolWriter, clock: HandClock) -> None:
    entry = writer.begin().commit()
    for _ in range(2):
        listing = arrivals.look()
        assert listing is not None
        assert (listing.arrived, listing.horizon) == ([entry], clock.now())
    arrivals.registered([entry])
    listing = arrivals.look()
    assert listing is not None
    assert listing.arrived == []


def test_what_several_processes_received_is_listed_as_it_came(arrivals: Arrivals, tmp_path: Path) -> None:
    """Each process counts for itself, so names alone would put all of one before all of the other."""
    spool = Spool(tmp_path, "listener")
    writers = [SpoolWriter(spool), SpoolWriter(spool)]
    came = [writers[turn % 2].begin().commit() for turn in range(6)]
    for second, entry in enumerate(came):
        os.utime(spool.path(entry), (1000, 1000 + second))
    listing = arrivals.look()
    assert listing is not None
    assert listing.arrived == came


def test_a_quiet_spool_costs_one_listing_a_second(arrivals: Arrivals, writer: SpoolWriter, clock: HandClock) -> None:
    entry = writer.begin().commit()
    arrivals.look()
    arrivals.registered([entry])
    assert arrivals.look() is not None
    assert arrivals.look() is None
    clock.seconds += 1.5
    assert arrivals.look() is not None


def test_foreign_names_are_no_entries(arrivals: Arrivals, writer: SpoolWriter, tmp_path: Path) -> None:
    entry = writer.begin().commit()
    new = Spool(tmp_path, "listener").new
    for name in ("x.dcm", entry.name, ".hidden.part"):
        (new / name).touch()
    listing = arrivals.look()
    assert listing is not None
    assert listing.arrived == [entry]


def aged(path: Path, age: timedelta, now: datetime) -> Path:
    path.touch()
    then = (now - age).timestamp()
    os.utime(path, (then, then))
    return path


@pytest.mark.usefixtures("writer")
def test_only_old_temporary_files_of_ours_are_swept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "listener")
    now = datetime.now(UTC)
    for name, age in (("a.part", timedelta(minutes=1)), ("b.part", LEFTOVER_AGE * 2), ("c.txt", LEFTOVER_AGE * 2)):
        aged(spool.temporary / name, age, now)
    assert sweep_leftovers(spool, now) == 1
    assert sorted(path.name for path in spool.temporary.iterdir()) == ["a.part", "c.txt"]


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(("message_timeout", "swept"), [(600.0, 1), (7200.0, 0)])
def test_what_may_still_be_received_is_not_swept(tmp_path: Path, message_timeout: float, swept: int) -> None:
    spool = Spool(tmp_path, "listener")
    now = datetime.now(UTC)
    # a small instance is written at its end
    aged(spool.temporary / "a.part", timedelta(hours=1.9), now)
    assert sweep_leftovers(spool, now, leftover_age(message_timeout)) == swept


def test_what_a_crash_leaves_is_swept_wherever_it_was_to_go_and_nothing_acknowledged_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "listener")
    now = datetime.now(UTC)
    for directory in (spool.new, spool.commitments):
        writer = SpoolWriter(spool, directory)
        receiving, entry = writer.begin(), writer.begin().commit()
        receiving.write(b"abc")
        aged(directory / entry.file_name, LEFTOVER_AGE * 2, now)
        # killed between the two halves of its trial, or while receiving
        aged(directory / ".probe-0.part", LEFTOVER_AGE * 2, now)
    assert sweep_leftovers(spool, now) == 2
    assert sweep_leftovers(spool, now + LEFTOVER_AGE * 2) == 2
    assert list(spool.temporary.iterdir()) == []
    assert [len(list(directory.iterdir())) for directory in (spool.new, spool.commitments)] == [1, 1]


def test_what_cannot_be_swept_keeps_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "listener")
    now = datetime.now(UTC)
    spool.temporary.mkdir(parents=True)
    aged(spool.temporary / "a.part", LEFTOVER_AGE * 2, now)
    (spool.temporary / "b.part").mkdir()
    aged(spool.temporary / "c.part", LEFTOVER_AGE * 2, now)
    assert sweep_leftovers(spool, now + LEFTOVER_AGE * 2) == 2
    assert [path.name for path in spool.temporary.iterdir()] == ["b.part"]


def test_a_file_that_goes_while_it_is_looked_at_is_not_swept(
    writer: SpoolWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = writer.begin()
    unlink = Path.unlink

    def too_late(path: Path) -> None:
        unlink(path)
        unlink(path)

    with monkeypatch.context() as racing:
        racing.setattr(Path, "unlink", too_late)
        assert sweep_leftovers(Spool(tmp_path, "listener"), datetime.now(UTC) + LEFTOVER_AGE * 2) == 0
    file.abort()


def test_a_spool_that_is_not_there_yet_has_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep_leftovers(Spool(tmp_path, "listener"), datetime.now(UTC)) == 0
