from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.spool import Spool
from dicom_listener.arrivals import LEFTOVER_AGE, Arrivals, sweep_leftovers
from dicom_listener.instance_file import SpoolWriter


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


@pytest.mark.usefixtures("writer")
def test_only_old_temporary_files_of_ours_are_swept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "listener")
    now = datetime.now(UTC)
    for name, age in (("a.part", timedelta(minutes=1)), ("b.part", LEFTOVER_AGE * 2), ("c.txt", LEFTOVER_AGE * 2)):
        path = spool.temporary / name
        path.touch()
        then = (now - age).timestamp()
        os.utime(path, (then, then))
    assert sweep_leftovers(spool, now) == 1
    assert sorted(path.name for path in spool.temporary.iterdir()) == ["a.part", "c.txt"]
