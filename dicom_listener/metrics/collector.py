"""What the listener's metrics are called, and what of them is looked up when somebody asks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from core.metrics.families import Family, counter, described, gauge, gauges, program_version
from core.spool import SUFFIX, BadEntryName, Entry, Spool
from dicom_listener.metrics.counting import OUTCOMES, SERVICES, Counted, Metrics, acknowledged
from dicom_listener.metrics.tally import UNKNOWN, Series, Totals
from dicom_listener.status import TABLES
from dicom_listener.storage.disk import Watermark

PREFIX: Final = "lungwatch_listener_"


def _family(name: str, kind: str, help: str, *labels: str) -> Family:  # noqa: A002 - Prometheus' word
    return Family(PREFIX + name, kind, labels, help)


ASSOCIATIONS: Final = _family(
    "associations_total",
    "counter",
    "What became of connections: accepted, and later how that ended; or why there was no association.",
    "outcome",
    "peer",
)
OPEN_ASSOCIATIONS: Final = _family("open_associations", "gauge", "Associations open now.", "peer")
WAITING: Final = _family("waiting_connections", "gauge", "Connections open now that have not become associations.")
ANSWERS: Final = _family("answers_total", "counter", "Requests answered, by status.", "service", "status", "peer")
RECEIVED: Final = _family(
    "received_bytes_total", "counter", "Bytes of data sets, of refused ones too.", "service", "peer"
)
ACKNOWLEDGE: Final = _family(
    "acknowledge_seconds",
    "histogram",
    "Time from the first byte of a request's command to its answer.",
    "service",
)
PROCESSES: Final = _family("processes", "gauge", "Association processes alive.")
STARTS: Final = _family(
    "process_starts_total", "counter", "Association processes started, those in place of dead ones too."
)
START_TIME: Final = _family("start_time_seconds", "gauge", "When the listener started, Unix time.")
BUILD: Final = _family("build_info", "gauge", "Always 1; the version is its label.", "version")
SPOOL_ENTRIES: Final = _family(
    "spool_entries", "gauge", "Acknowledged instances in new/: received, and not through the ledger yet."
)
SPOOL_OLDEST: Final = _family("spool_oldest_seconds", "gauge", "Age of the oldest of them; 0 where there is none.")
COMMITMENT_REQUESTS: Final = _family(
    "commitment_requests", "gauge", "Storage commitment requests in commitment/: acknowledged, and not answered yet."
)
TEMPORARY_FILES: Final = _family("temporary_files", "gauge", "Files in tmp/: being received, or left by a crash.")
FREE: Final = _family("free_bytes", "gauge", "Free space of the spool's disk.")
WATERMARK: Final = _family("watermark_bytes", "gauge", "Free space that must stay.")
REFUSING: Final = _family("refusing", "gauge", "1 while every C-STORE is refused for want of space, else 0.")

# as documented; a test holds what is shown, and docs/metrics.md, to it
FAMILIES: Final = (
    ASSOCIATIONS,
    OPEN_ASSOCIATIONS,
    WAITING,
    ANSWERS,
    RECEIVED,
    ACKNOWLEDGE,
    PROCESSES,
    STARTS,
    START_TIME,
    BUILD,
    SPOOL_ENTRIES,
    SPOOL_OLDEST,
    COMMITMENT_REQUESTS,
    TEMPORARY_FILES,
    FREE,
    WATERMARK,
    REFUSING,
)


class ListenerCollector(Collector):
    """Shows one listener's metrics to prometheus_client.

    What cannot be looked up, for instance because a disk fails, is left out
    rather than shown as 0.

    Parameters
    ----------
    metrics : Metrics
        What the processes count.
    clock : callable
        Unix time in seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        settings = metrics.settings
        self._metrics = metrics
        self._clock = clock
        self._spool = Spool(settings.data_dir, settings.listener_name)
        self._watermark = Watermark(self._spool.root, settings.free_space_fraction, settings.free_space_bytes)

    def describe(self) -> Iterator[Metric]:
        """Name what `collect` will show, for scrapers that ask for some of it."""
        yield from described(FAMILIES)

    def collect(self) -> Iterator[Metric]:
        """Look everything up."""
        totals = self._metrics.totals()
        yield from _counted(totals)
        yield _acknowledge(totals)
        yield gauge(PROCESSES, totals.living)
        yield counter(STARTS, [((), totals.starts)])
        yield gauge(START_TIME, self._metrics.started.timestamp())
        yield gauge(BUILD, 1, program_version())
        yield from self._disk()

    def _disk(self) -> Iterator[Metric]:
        for look in (self._new, self._beside, self._space):
            try:
                found = list(look())
            except OSError:
                continue
            yield from found

    def _new(self) -> Iterator[Metric]:
        number, oldest = _entries(self._spool.new)
        age = 0.0 if oldest is None else max(0.0, self._clock() - oldest)
        yield gauge(SPOOL_ENTRIES, number)
        yield gauge(SPOOL_OLDEST, age)

    def _beside(self) -> Iterator[Metric]:
        yield gauge(TEMPORARY_FILES, _files(self._spool.temporary))
        yield gauge(COMMITMENT_REQUESTS, _files(self._spool.commitments))

    def _space(self) -> Iterator[Metric]:
        disk = os.statvfs(self._spool.root)
        yield gauge(FREE, disk.f_bavail * disk.f_frsize)
        yield gauge(WATERMARK, self._watermark.floor(disk.f_blocks * disk.f_frsize))
        yield gauge(REFUSING, not self._watermark.admits(0))


def _expected() -> Iterator[Series]:
    # shown as 0 from the start: the rise of a series that did not exist is no rise to Prometheus
    for place in range(len(OUTCOMES)):
        yield Series(Counted.ASSOCIATIONS, place, 0, UNKNOWN)
    yield Series(Counted.OPEN_ASSOCIATIONS, 0, 0, UNKNOWN)
    for place, table in enumerate(TABLES.values()):
        yield Series(Counted.RECEIVED_BYTES, place, 0, UNKNOWN)
        for status in table:
            yield Series(Counted.ANSWERS, place, status.code, UNKNOWN)


_ZEROES: Final = dict.fromkeys(_expected(), 0.0)


def _counted(totals: Totals) -> Iterator[Metric]:
    by_family: dict[int, list[tuple[Series, float]]] = {family: [] for family in Counted}
    for series, value in sorted((_ZEROES | totals.values).items()):
        if series.family in by_family:
            by_family[series.family].append((series, value))
    yield counter(
        ASSOCIATIONS, [((OUTCOMES[one.first], one.name), value) for one, value in by_family[Counted.ASSOCIATIONS]]
    )
    yield gauges(OPEN_ASSOCIATIONS, [((one.name,), value) for one, value in by_family[Counted.OPEN_ASSOCIATIONS]])
    yield gauge(WAITING, totals.values.get(Series(Counted.WAITING_CONNECTIONS), 0.0))
    yield counter(
        ANSWERS,
        [((SERVICES[one.first], f"0x{one.second:04X}", one.name), value) for one, value in by_family[Counted.ANSWERS]],
    )
    yield counter(
        RECEIVED, [((SERVICES[one.first], one.name), value) for one, value in by_family[Counted.RECEIVED_BYTES]]
    )


def _acknowledge(totals: Totals) -> Metric:
    shown = HistogramMetricFamily(ACKNOWLEDGE.name, ACKNOWLEDGE.help, labels=ACKNOWLEDGE.labels)
    for place, service in enumerate(SERVICES):
        buckets, seconds = acknowledged(totals, place)
        shown.add_metric([service], buckets, seconds)
    return shown


def _entries(new: Path) -> tuple[int, float | None]:
    """Return how many entries there are, and when the oldest was written (Unix time).

    Numbers of one incarnation follow the order of receipt, so only the first
    of each is asked for its time, however many there are.
    """
    first: dict[str, str] = {}
    number = 0
    with os.scandir(new) as found:
        for file in found:
            name = file.name
            if name.startswith(".") or not name.endswith(SUFFIX):
                continue
            try:
                incarnation = Entry.parse(name).incarnation
            except BadEntryName:
                continue
            number += 1
            if incarnation not in first or name < first[incarnation]:
                first[incarnation] = name
    times = []
    for name in first.values():
        try:
            times.append((new / name).stat().st_mtime)
        except FileNotFoundError:
            # moved to stored/ between the two looks
            continue
    return number, min(times, default=None)


def _files(directory: Path) -> int:
    try:
        with os.scandir(directory) as found:
            return sum(not file.name.startswith(".") for file in found)
    except FileNotFoundError:
        return 0
