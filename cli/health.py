"""What counts as wrong: pure judgement over a status report, for `status` and for monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.settings import Settings
from db.report import ProcessRow, StatusReport
from db.settling import SILENT_SECONDS
from db.vocabulary import NightState, ProcessKind

# a beat may be late twice, and a busy machine later than that
_BEATS_MISSED: Final = 3
_SLACK_SECONDS: Final = 15.0
_HORIZON_SECONDS: Final = 60.0
# a day, the hour that the clocks may change by, and five minutes between two rings
_NIGHT_SECONDS: Final = 25.25 * 3600
_NEEDED: Final = {
    ProcessKind.REGISTRAR: "no registrar runs: what the listener receives is safe on disk, but is not registered. "
    "Start lungwatch serve or lungwatch listen.",
    ProcessKind.WORKER: "no worker runs: nothing is classified. Start lungwatch serve or lungwatch work.",
}


@dataclass(frozen=True, slots=True)
class Disk:
    """Room where the data directory lies, bytes; the watermark is what must stay free."""

    total: int
    free: int
    watermark: int


def alive(process: ProcessRow, settings: Settings) -> bool:
    """Return whether a process has been heard of lately and did not say goodbye."""
    return process.stopped_at is None and process.seen_seconds <= (
        _BEATS_MISSED * settings.heartbeat_seconds + _SLACK_SECONDS
    )


def standing(processes: Sequence[ProcessRow], settings: Settings) -> list[ProcessRow]:
    """Return the processes worth showing: not those that fell silent and were replaced on their host.

    Replaced is one after whose last beat another of its kind, and of its
    listener, started there.
    """
    return [one for one in processes if alive(one, settings) or not any(_replaced(one, by) for by in processes)]


def _replaced(old: ProcessRow, new: ProcessRow) -> bool:
    same = (old.kind, old.host, old.listener) == (new.kind, new.host, new.listener)
    # by the start too: where the database's clock is behind the host's, a process may seem seen before it started
    return same and old.stopped_at is None and new.started_at > max(old.started_at, old.seen_at)


def problems(report: StatusReport, settings: Settings, disk: Disk | None) -> list[str]:
    """Return what is wrong, each as a sentence with what to do; empty when all is well."""
    living = [process for process in report.processes if alive(process, settings)]
    found = [text for kind, text in _NEEDED.items() if not any(process.kind is kind for process in living)]
    found += [
        f"{process.kind.value.lower()} {process.pid} on {process.host}: {process.problem}"
        for process in living
        if process.problem is not None
    ]
    found += [
        f"registrar {process.pid} on {process.host} lags {process.horizon_seconds:.0f} s behind its spool. "
        "See its log: the ledger may be slow."
        for process in living
        if process.horizon_seconds is not None and process.horizon_seconds > _HORIZON_SECONDS
    ]
    found += [
        f"the registrar of the listener {process.listener} on {process.host} died {process.seen_seconds / 60:.0f} min "
        f"ago and did not come back: what waits in spool/{process.listener}/new is not registered, and no study "
        f"settles until it is. Start that listener again (LUNGWATCH_LISTENER_NAME={process.listener})."
        for process in _missing_registrars(report.processes, settings)
    ]
    if report.champion is None:
        found.append("no model is in service. A worker installs the starter bundle when it first starts.")
    if report.overdue:
        found.append(
            f"{report.overdue} acknowledged {'image is' if report.overdue == 1 else 'images are'} overdue; "
            "they stand in lungwatch results --flagged."
        )
    if (night := _night(report, settings)) is not None:
        found.append(night)
    if disk is not None and disk.free < disk.watermark:
        found.append(
            f"free space is under the watermark ({disk.free >> 20} of {disk.watermark >> 20} MiB): "
            "the listener refuses with 0xA700. Make room outside the spool."
        )
    return found


def _night(report: StatusReport, settings: Settings) -> str | None:
    """Return what is wrong with the nightly job, where one is wanted: nothing else would say that it no longer runs."""
    if settings.nightly_hour is None or report.champion is None:
        return None
    night = report.night
    if night is not None and night.state is NightState.FAILED:
        return f"the night of {night.night} failed: {night.reason}. See lungwatch nightly show."
    # before the first night: since there has been a model to examine
    seconds = (report.at - report.champion.since).total_seconds() if night is None else night.begun_seconds
    if seconds > _NIGHT_SECONDS:
        return (
            f"no night has begun for {seconds / 3600:.0f} hours. See that beat runs, and a worker with "
            "LUNGWATCH_SIGNING_KEY_FILE, both with LUNGWATCH_NIGHTLY_HOUR."
        )
    return None


def _missing_registrars(processes: Sequence[ProcessRow], settings: Settings) -> list[ProcessRow]:
    """Return registrars that settling waits for though they are long dead.

    A worker would have stood them down if nothing waited in their spools, or if it saw them.
    """
    seconds = SILENT_SECONDS + settings.sweep_seconds + _SLACK_SECONDS
    registrars = [one for one in processes if one.kind is ProcessKind.REGISTRAR]
    return [
        one
        for place, one in enumerate(registrars)
        if one.stopped_at is None
        and one.seen_seconds > seconds
        # newest first: no later one of this listener
        and all(newer.listener != one.listener for newer in registrars[:place])
    ]


def problems_here(report: StatusReport, settings: Settings, host: str) -> list[str]:
    """Return what is wrong with this host's processes, for a container's health check."""
    here = [process for process in report.processes if process.host == host and alive(process, settings)]
    if not here:
        return [f"no process of {host} has been heard of lately"]
    return [f"{process.kind.value.lower()}: {process.problem}" for process in here if process.problem is not None]
