"""What this host's listener says of itself, from its Prometheus endpoint."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from cli.output import shown
from core.metrics.families import Family
from core.settings import Settings
from dicom_listener import announcement
from dicom_listener.metrics.collector import (
    ANSWERS,
    ASSOCIATIONS,
    FREE,
    OPEN_ASSOCIATIONS,
    PROCESSES,
    REFUSING,
    SPOOL_ENTRIES,
    SPOOL_OLDEST,
    START_TIME,
    WATERMARK,
)
from dicom_listener.rejections import Rejection

_SECONDS: Final = 3.0
_LONGEST: Final = 4 << 20
_OK: Final = 200
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - asked, not bound
_SUCCESS: Final = "0x0000"
_REJECTED: Final = frozenset(reason.name.lower() for reason in Rejection)


@dataclass(frozen=True, slots=True)
class ListenerNow:
    """A listener at one moment; None is what it could not look up.

    Attributes
    ----------
    started_at : datetime
    processes : int
        Alive, of those that take associations.
    associations : int
        Open now.
    stored, refused : int
        Instances since the start.
    rejected : int
        Associations since the start.
    spooled : int or None
        Instances in ``new/``.
    oldest_seconds : float or None
        Age of the oldest of them.
    free, watermark : int or None
        Bytes.
    refusing : bool or None
        Whether everything is refused now for want of space.
    """

    started_at: datetime
    processes: int
    associations: int
    stored: int
    refused: int
    rejected: int
    spooled: int | None
    oldest_seconds: float | None
    free: int | None
    watermark: int | None
    refusing: bool | None


def listener_now(settings: Settings) -> ListenerNow | None:
    """Ask; None where no listener of ours answers on this host, or it has no endpoint."""
    said = announcement.read(settings)
    if said is None or said.metrics_port is None:
        return None
    host = _EVERYWHERE.get(settings.metrics_host, settings.metrics_host)
    connection = http.client.HTTPConnection(host, said.metrics_port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        body = response.read(_LONGEST)
        if response.status != _OK:
            return None
        families = text_string_to_metric_families(body.decode())
        return _read([sample for family in families for sample in family.samples])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        # a listener that was killed leaves its announcement, and another program may have its port now
        return None
    finally:
        connection.close()


def in_words(now: ListenerNow | None) -> str:
    """Return one line for a person."""
    if now is None:
        return "not on this host, or without metrics"
    counts = f"{now.stored} instances stored, {now.refused} refused, {now.rejected} associations rejected"
    parts = [f"{now.associations} associations now", f"{counts} since {shown(now.started_at)}"]
    if now.spooled is not None and now.oldest_seconds is not None:
        parts.append(
            f"{now.spooled} in its spool" + (f", the oldest for {now.oldest_seconds:.0f} s" if now.spooled else "")
        )
    if now.free is not None and now.watermark is not None:
        parts.append(f"{now.free >> 30} GiB free, {now.watermark >> 30} must stay")
    if now.refusing:
        parts.append("it refuses everything for want of space")
    return "; ".join(parts)


def _read(samples: Iterable[Sample]) -> ListenerNow:
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)

    def total(family: Family, counts: Callable[[dict[str, str]], bool] = lambda _: True) -> int:
        return int(sum(one.value for one in by_name[family.name] if counts(one.labels)))

    def found(family: Family) -> float | None:
        return by_name[family.name][0].value if family.name in by_name else None

    spooled, free, watermark, refusing = found(SPOOL_ENTRIES), found(FREE), found(WATERMARK), found(REFUSING)
    return ListenerNow(
        started_at=datetime.fromtimestamp(by_name[START_TIME.name][0].value, UTC),
        processes=total(PROCESSES),
        associations=total(OPEN_ASSOCIATIONS),
        stored=total(ANSWERS, lambda of: of["service"] == "C-STORE" and of["status"] == _SUCCESS),
        refused=total(ANSWERS, lambda of: of["service"] == "C-STORE" and of["status"] != _SUCCESS),
        rejected=total(ASSOCIATIONS, lambda of: of["outcome"] in _REJECTED),
        spooled=None if spooled is None else int(spooled),
        oldest_seconds=found(SPOOL_OLDEST),
        free=None if free is None else int(free),
        watermark=None if watermark is None else int(watermark),
        refusing=None if refusing is None else bool(refusing),
    )
