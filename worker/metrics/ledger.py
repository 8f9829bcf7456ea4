"""What waits in the ledger, for whoever scrapes a worker: looked up seldom, and never waited for long."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session, sessionmaker

from core.clock import Clock
from core.logging import get, safe_error
from core.metrics.families import described, gauge, gauges
from db.backlog import Backlog, backlog
from imaging.reasons import Rejection
from worker.metrics import families
from worker.metrics.figures import OTHER

# as often as Prometheus usually asks; a look that took long is followed by a rest so many times as long
_FRESH_SECONDS: Final = 10.0
_RESTS: Final = 20.0
# a scraper gets our own figures without the ledger's rather than nothing
_PATIENCE_SECONDS: Final = 2.0
_STALE_SECONDS: Final = 60.0

log = get(__name__)


class LedgerCollector(Collector):
    """Shows the ledger's figures to prometheus_client.

    One look at a time, on a thread of its own, however many ask; what it found
    serves all of them for some seconds. While the ledger does not answer, its
    figures are left out rather than shown as they were, or as 0.

    Parameters
    ----------
    readers : sessionmaker
        Sessions that only read.
    clock : Clock
        For the intervals.
    """

    def __init__(self, readers: sessionmaker[Session], clock: Clock) -> None:
        self._readers = readers
        self._clock = clock
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None
        self._found: Backlog | None = None
        self._found_at = self._next_look = float("-inf")

    def describe(self) -> Iterator[Metric]:
        """Name what `collect` will show, for scrapers that ask for some of it."""
        yield from described(families.LEDGER_FAMILIES)

    def collect(self) -> Iterator[Metric]:
        """Show what was found last, unless that is too long ago."""
        looking = self._look()
        if looking is not None:
            looking.join(_PATIENCE_SECONDS)
        found = self._found
        if found is None or self._clock.monotonic() - self._found_at > _STALE_SECONDS:
            yield gauge(families.LEDGER_UP, 0)
            return
        yield gauge(families.LEDGER_UP, 1)
        yield from _shown(found)

    def _look(self) -> threading.Thread | None:
        """Begin a look if it is time to, and return the one under way."""
        with self._lock:
            if self._looking is not None and self._looking.is_alive():
                return self._looking
            if self._clock.monotonic() < self._next_look:
                return None
            self._looking = threading.Thread(target=self._ask, name="ledger-figures", daemon=True)
            self._looking.start()
            return self._looking

    def _ask(self) -> None:
        began = self._clock.monotonic()
        found = None
        try:
            with self._readers() as session:
                found = backlog(session)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the ledger counts as away
            log.warning("ledger_figures_missed", **safe_error(error))
        now = self._clock.monotonic()
        self._found, self._found_at = found, now
        self._next_look = now + max(_FRESH_SECONDS, _RESTS * (now - began))


def _shown(found: Backlog) -> Iterator[Metric]:
    waiting = [((urgency.value,), one) for urgency, one in found.waiting.items()]
    yield gauges(families.WAITING, [(labels, one.receipts) for labels, one in waiting])
    yield gauges(families.OLDEST, [(labels, one.oldest_seconds or 0.0) for labels, one in waiting])
    yield gauge(families.IN_HAND, found.in_hand)
    yield gauge(families.OVERDUE, found.overdue)
    yield gauges(families.IN_QUARANTINE, [((word,), count) for word, count in _reasons(found.quarantined.items())])
    yield gauge(families.RESCORING, found.rescoring)
    yield gauge(families.UNSETTLED, found.unsettled)
    yield gauge(families.FLAGGED, found.flagged)


def _reasons(found: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Count by the reasons there are, every one named; another release may have had others."""
    counts: dict[str, int] = dict.fromkeys((*Rejection, OTHER), 0)
    for reason, count in found:
        counts[reason if reason in counts else OTHER] += count
    for reason, count in counts.items():
        yield str(reason), count
