"""``python -m bench.soak_journey``: all of Lungwatch at half its highest rate, a process killed or stopped every 20 s.

`serve` runs as a hospital runs it, on PostgreSQL and Redis, with two workers.
Known peers send computed radiographs in several transfer syntaxes, and send
again what was not acknowledged. Exits with 1 where an acknowledged instance has
no result, or two, or where `reconcile` does not come out even.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from bench import machine, soak_command
from bench.figures import percentile
from bench.soak_books import Books, Told, read_books
from bench.soak_command import tell
from bench.soak_pictures import Picture, pictures
from bench.soak_sending import Senders
from bench.soak_whole import Whole

_GIGABYTE: Final = 10**9
_TELL_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
# what is sent before to learn the highest rate
_BURST: Final = 200
# a lease that a stopped worker holds, an image that waits behind it, and a machine that is slow
_DRAIN_SECONDS: Final = 900.0
_LONGEST_STOP_SECONDS: Final = 30.0


@dataclass
class Report:
    """Everything a run tells.

    Attributes
    ----------
    highest_rate, rate : float
        Images a second, from the first byte to the last committed row of a burst; and of the soak.
    limited_by_disk : bool
        Whether `rate` is less than half of the highest, for the disk's sake.
    struck : dict
        How often each kind of process was killed or stopped.
    seconds : dict
        From receipt to its end: p50, p95 and most.
    """

    minutes: float
    seed: int
    facts: dict[str, str]
    highest_rate: float
    rate: float
    limited_by_disk: bool
    struck: dict[str, int]
    sent: int
    acknowledged: int
    failed: int
    books: Books
    seconds: dict[str, float]
    reconciled: int
    reconcile_said: str
    drained: bool
    stopped: int
    gigabytes: float
    troubles: list[str] = field(default_factory=list)


def find_troubles(report: Report, told: Told) -> list[str]:
    """Say what must not be."""
    books = report.books
    wrong: dict[str, object] = {
        "nothing was killed or stopped": not report.struck,
        f"{len(books.lost(told))} acknowledged instances without a result": books.lost(told),
        f"{len(books.twice())} instances with more than one result": books.twice(),
        f"{len(books.foreign(told))} instances that nobody sent": books.foreign(told),
        f"{books.pending} receipts still pending": books.pending,
        f"{dict(books.otherwise)} receipts ended otherwise than CLASSIFIED or DUPLICATE": books.otherwise,
        f"one picture under one model has other scores: {books.scores}": any(
            len(values) != 1 for values in books.scores.values()
        ),
        f"reconcile ended with {report.reconciled}: {report.reconcile_said[-400:]}": report.reconciled,
        f"serve stopped with {report.stopped}": report.stopped,
        "not drained in time": not report.drained,
    }
    return [what for what, holds in wrong.items() if holds]


def soak(options: argparse.Namespace, folder: Path) -> Report:
    """Run everything below a folder on a disk, and take the figures."""
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    drawn = pictures(str(options.seed))
    told = Told()
    with Whole(folder, workers=options.workers) as whole:
        highest = _highest_rate(whole, drawn, told, options)
        bytes_each = sum(one.size for one in drawn) / len(drawn)
        affordable = options.disk_gigabytes * _GIGABYTE / bytes_each / (options.minutes * 60)
        rate = min(highest / 2, affordable)
        tell(f"highest rate {highest:.1f} images a second; soaking at {rate:.1f} for {options.minutes:g} minutes")
        senders = Senders(whole, drawn, told, rate=rate, count=options.associations, seed=str(options.seed))
        senders.start()
        try:
            struck = _strike(options, whole, told, chance)
        finally:
            whole.wake()
            senders.stop()
        drained = _drain(whole)
        seconds = whole.seconds_to_end()
        reconciled, said = whole.reconcile()
        stopped = whole.stop()
        report = Report(
            minutes=options.minutes,
            seed=options.seed,
            facts=machine.facts(folder),
            highest_rate=round(highest, 2),
            rate=round(rate, 2),
            limited_by_disk=affordable < highest / 2,
            struck=dict(struck),
            sent=len(told.sent),
            acknowledged=told.acknowledged.total(),
            failed=told.failed,
            books=read_books(whole.engine),
            seconds={
                "p50": round(percentile(seconds, 0.5), 3),
                "p95": round(percentile(seconds, 0.95), 3),
                "most": round(max(seconds), 3),
            },
            reconciled=reconciled,
            reconcile_said=said,
            drained=drained,
            stopped=stopped,
            gigabytes=round(told.bytes / _GIGABYTE, 2),
        )
    report.troubles = find_troubles(report, told)
    return report


def _highest_rate(whole: Whole, drawn: Sequence[Picture], told: Told, options: argparse.Namespace) -> float:
    """Send a burst as fast as it is taken; images a second up to the last committed row."""
    # the first images meet programs that are still being read from the disk
    for count in (len(drawn), _BURST):
        senders = Senders(
            whole,
            drawn,
            told,
            rate=float("inf"),
            count=options.associations,
            seed=f"{options.seed}/{count}",
            limit=count,
        )
        began = time.monotonic()
        senders.start()
        senders.join()
        if not _drain(whole):
            raise TimeoutError("the burst before the soak was not classified")
    return _BURST / (time.monotonic() - began)


def _strike(options: argparse.Namespace, whole: Whole, told: Told, chance: random.Random) -> Counter[str]:
    """Kill or stop a process of a kind drawn at random until time is over; return how often each."""
    began = time.monotonic()
    end, strike_at, tell_at = began + options.minutes * 60, began + options.strike_seconds, began
    struck: Counter[str] = Counter()
    while (now := time.monotonic()) < end:
        whole.keep_alive()
        if now >= strike_at:
            strike_at = now + options.strike_seconds
            kinds = whole.victims()
            kind = chance.choice(sorted(kinds))
            victim, stop = chance.choice(kinds[kind]), chance.random() < 1 / 2
            if whole.strike(victim, signal.SIGSTOP if stop else signal.SIGKILL):
                struck[f"{kind} {'stopped' if stop else 'killed'}"] += 1
            if stop:
                threading.Timer(
                    chance.uniform(1.0, min(_LONGEST_STOP_SECONDS, options.strike_seconds * 2)), whole.wake, (victim,)
                ).start()
        if now >= tell_at:
            tell_at = now + _TELL_SECONDS
            tell(
                f"{now - began:6.0f} s  {told.acknowledged.total():6} acknowledged, {told.failed} failed, "
                f"{whole.pending()} waiting, {struck.total()} struck"
            )
        time.sleep(_LOOK_SECONDS)
    return struck


def _drain(whole: Whole) -> bool:
    deadline = time.monotonic() + _DRAIN_SECONDS
    while whole.pending() or whole.spooled():
        if time.monotonic() > deadline:
            return False
        whole.keep_alive()
        time.sleep(_LOOK_SECONDS / 5)
    return True


def text(report: Report) -> str:
    """Return the figures as a person reads them."""
    books = report.books
    for_the_disk = " (less than half, for the disk's sake)" if report.limited_by_disk else ""
    states = ", ".join(f"{state} {count}" for state, count in sorted(books.states.items()))
    struck = ", ".join(f"{what} {count}" for what, count in sorted(report.struck.items()))
    facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
    took = report.seconds
    lines = [
        f"{report.minutes:g} minutes, seed {report.seed}; {facts}",
        f"highest rate {report.highest_rate:g} images a second, soaked at {report.rate:g}{for_the_disk}",
        f"sent {report.sent}, acknowledged {report.acknowledged} ({report.gigabytes} GB)",
        f"stores that failed and were sent again {report.failed}",
        f"receipts: {states}; predictions {books.predictions}",
        f"killed or stopped {sum(report.struck.values())}: {struck}",
        f"receipt to committed row: p50 {took['p50']:.2f} s, p95 {took['p95']:.2f} s, most {took['most']:.1f} s",
        f"reconcile ended with {report.reconciled}, serve with {report.stopped}",
    ]
    return "\n".join([*lines, *(f"WRONG: {trouble}" for trouble in report.troubles)])


def _parser() -> argparse.ArgumentParser:
    parser = soak_command.parser("bench.soak_journey", __doc__)
    parser.add_argument("--associations", type=int, default=4, help="at once; 4")
    parser.add_argument("--workers", type=int, default=2, help="worker processes; 2")
    parser.add_argument("--strike-seconds", type=float, default=20.0, help="between two kills or stops; 20")
    parser.add_argument("--disk-gigabytes", type=float, default=30.0, help="of objects in all; the rate follows; 30")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Soak and tell; return the exit code."""
    options = _parser().parse_args(arguments)
    with soak_command.scratch(options) as folder:
        report = soak(options, folder)
    tell(text(report))
    # by instance they are too many
    books = {"states": dict(report.books.states), "predictions": report.books.predictions}
    soak_command.write(options, {**asdict(report), "books": books})
    return 1 if report.troubles else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
