"""The screen of `lungwatch status`: what is wrong first, then what waits, then who works and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console

from cli.health import Disk, alive
from cli.listener_now import ListenerNow, in_words
from cli.output import facts, printable, say, shown, table
from cli.workers_now import HostNow, decoded
from core.settings import Settings
from db.report import ProcessRow, StatusReport
from db.vocabulary import ProcessKind, ReceiptState

SCREEN_WIDTH: Final = 100
# one screen; all of them are in the JSON
_MOST_ROWS: Final = 12
_MINUTES: Final = 120
_HOURS: Final = 7200


@dataclass(frozen=True, slots=True)
class Screen:
    """All that is shown; `wrong` are sentences."""

    report: StatusReport
    settings: Settings
    disk: Disk | None
    listener: ListenerNow | None
    hosts: Sequence[HostNow]
    wrong: Sequence[str]


def show(out: Console, screen: Screen) -> None:
    """Print it."""
    if screen.wrong:
        say(out, "Something is wrong:", style="bold red")
        for sentence in screen.wrong:
            say(out, f"  - {printable(sentence)}")
    else:
        say(out, "All is well.", style="bold green")
    out.print()
    out.print(facts(_facts(screen)))
    _workers(out, screen.hosts)
    _processes(out, screen)


def _facts(screen: Screen) -> Iterator[tuple[str, object]]:
    report, disk, model = screen.report, screen.disk, screen.report.champion
    yield "Listener", in_words(screen.listener)
    yield "Waiting", _waiting(report)
    yield "Ended", f"{_counts(_terminal(report))} within a day"
    yield "Quarantined", _counts(report.quarantined)
    yield "Studies", f"{_counts(report.studies)} within a day; {report.unsettled} not settled"
    yield "For a reader", report.flagged
    yield "Model", "-" if model is None else f"{model.name} {model.version}, since {shown(model.since)}"
    asked = report.commitments
    if asked.waiting or asked.reported or asked.given_up:
        age = _oldest(asked.oldest_waiting_seconds)
        within = f"within a week {asked.reported} reported, {asked.given_up} given up"
        yield "Commitment", f"{asked.waiting} wait to be reported{age}; {within}"
    if report.rescoring:
        yield "Re-scoring", f"{report.rescoring} wait, behind whatever is newly received"
    if report.night is not None:
        doing = f", at {report.night.step}" if report.night.held else ""
        yield "Night", f"{report.night.night}: {report.night.state}{doing}"
    if disk is not None:
        yield "Disk", f"{disk.free >> 30} of {disk.total >> 30} GiB free, {disk.watermark >> 30} must stay"


def _waiting(report: StatusReport) -> str:
    if not report.pending:
        return "none"
    by_urgency = ", ".join(f"{one.receipts} {word.lower()}" for word, one in report.waiting.items() if one.receipts)
    in_hand = sum(one.in_hand for one in report.waiting.values())
    return f"{by_urgency}{_oldest(report.oldest_pending_seconds)}; {in_hand} in hand, {report.overdue} overdue"


def _workers(out: Console, hosts: Sequence[HostNow]) -> None:
    out.print()
    if not hosts:
        out.print("No worker runs.", style="bold")
        return
    out.print("Workers, their last five minutes", style="bold")
    columns = ("Host", "Run", "Model", "Images/min", "Batch", "Prepare", "Inference", "Commit", "To row, 95 %")
    rows = [
        (
            one.host,
            one.workers,
            one.models,
            f"{one.images_a_minute:.1f}",
            "-" if one.batch is None else f"{one.batch:.1f}",
            _ms(one.prepare_ms),
            _ms(one.inference_ms),
            _ms(one.commit_ms),
            "-" if one.waited_95_seconds is None else f"{one.waited_95_seconds:.2g} s",
        )
        for one in hosts[:_MOST_ROWS]
    ]
    out.print(table(columns, rows))
    _more(out, len(hosts))
    syntaxes = decoded(hosts)
    if syntaxes:
        out.print()
        decode_rows = [(syntax, one.images, _ms(one.ms)) for syntax, one in syntaxes.items()]
        out.print(table(("Decoded from", "Images", "Each"), decode_rows))
    trouble = [f"{name}: {said}" for name, said in _trouble(hosts) if said]
    if trouble:
        out.print()
        out.print("Since these workers started", style="bold")
        for line in trouble:
            say(out, f"  {printable(line)}")


def _trouble(hosts: Sequence[HostNow]) -> Iterator[tuple[str, str]]:
    yield "attempts failed", _by_reason([one.attempts_failed for one in hosts])
    yield "quarantined", _by_reason([one.quarantined for one in hosts])
    yield "decode helpers replaced", _by_reason([one.helpers_replaced for one in hosts])
    yield "batches tried again image by image", _number(sum(one.batches_failed for one in hosts))
    yield "leases lost to another worker", _number(sum(one.leases_lost for one in hosts))
    yield "receipts given back because a host failed", _number(sum(one.host_failures for one in hosts))


def _processes(out: Console, screen: Screen) -> None:
    """List whoever is not in the table of workers: those that do something else, or nothing any more."""
    listed = [
        one for one in screen.report.processes if one.kind is not ProcessKind.WORKER or not alive(one, screen.settings)
    ]
    if not listed:
        return
    out.print()
    out.print(
        table(
            ("Process", "Host", "PID", "State", "Seen", "Serves", "Problem"),
            [_process(one, screen.settings) for one in listed[:_MOST_ROWS]],
        )
    )
    _more(out, len(listed))


def _process(one: ProcessRow, settings: Settings) -> tuple[object, ...]:
    state = "stopped" if one.stopped_at else "runs" if alive(one, settings) else "silent"
    seen = f"{_age(one.seen_seconds)} ago"
    return one.kind, one.host, one.pid, state, seen, one.model or one.listener, one.problem


def _more(out: Console, number: int) -> None:
    if number > _MOST_ROWS:
        say(out, f"and {number - _MOST_ROWS} more: lungwatch status --json")


def _terminal(report: StatusReport) -> dict[ReceiptState, int]:
    return {state: count for state, count in report.receipts.items() if state is not ReceiptState.PENDING}


def _by_reason(counts: Sequence[Mapping[str, int]]) -> str:
    words = {word: sum(one.get(word, 0) for one in counts) for one in counts for word in one}
    return _counts(words) if words else ""


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {shown(word)}" for word, count in counts.items() if count) or "none"


def _number(count: int) -> str:
    return str(count) if count else ""


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _oldest(seconds: float | None) -> str:
    return "" if seconds is None else f", the oldest for {_age(seconds)}"


def _age(seconds: float) -> str:
    if seconds < _MINUTES:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOURS else f"{seconds / 3600:.0f} h"
