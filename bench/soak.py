"""``python -m bench.soak``: honest and hostile peers for minutes, kills and a restart, every instance accounted for.

Exits with 1 where something acknowledged is not there byte for byte, something
is there that nobody sent, an honest store fails without a cause of ours, or
the listener holds more at the end than at the beginning.
"""

from __future__ import annotations

import argparse
import os
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
from bench.soak_account import Account, Balance, Keeper, balance, registered_in
from bench.soak_command import tell
from bench.soak_hostile import Hostile
from bench.soak_load import SIZES, Load
from bench.soak_system import Footprint, System

_MEGABYTE: Final = 1 << 20
_GIGABYTE: Final = 1 << 30
# what the C library keeps for later is bounded, not nil
MEMORY_MARGIN: Final = 64 * _MEGABYTE
_WARM_UP_SECONDS: Final = 3.0
_WATCH_SECONDS: Final = 1.0
_CHANGE_SECONDS: Final = 10.0
# the longest deadline of an association that the listener has not seen end is that of an idle one
_QUIET_SECONDS: Final = 75.0


@dataclass
class Report:
    """Everything a run tells.

    Attributes
    ----------
    seconds : dict
        By size in megabytes: how many honest stores, and p50, p95 and most of their times.
    drain : tuple of int and float
        Exit code and seconds of the listener that was restarted.
    """

    minutes: float
    seed: int
    facts: dict[str, str]
    balance: Balance
    unexplained: list[str]
    broken_by_kill: int
    seconds: dict[str, dict[str, float]]
    start: Footprint
    peak: Footprint
    end: Footprint
    kills: int
    drain: tuple[int, float] | None
    attacks: dict[str, int]
    gigabytes: float
    over_tls: int
    events: dict[str, int] = field(default_factory=dict)

    def troubles(self) -> list[str]:
        """Say what must not be."""
        held = self.balance
        wrong = {
            f"{held.lost} acknowledged instances lost": held.lost,
            f"{held.foreign} entries that nobody sent": held.foreign,
            f"{held.damaged} entries with other bytes than their name says": held.damaged,
            f"{held.gaps} gaps in the sequences": held.gaps,
            f"{held.left} entries never registered": held.left,
            f"{held.registered} receipts for {held.entries} entries": held.registered != held.entries,
            f"{len(self.unexplained)} honest stores failed, first: {self.unexplained[:1]}": self.unexplained,
            f"threads grew from {self.start.threads} to {self.end.threads}": self.end.threads > self.start.threads,
            f"descriptors grew from {self.start.descriptors} to {self.end.descriptors}": self.end.descriptors
            > self.start.descriptors,
            f"memory grew from {self.start.memory} to {self.end.memory} bytes": self.end.memory
            > self.start.memory + MEMORY_MARGIN,
            f"the drain ended with {self.drain}": self.drain is not None and self.drain[0] != 0,
            "a traceback in the log": self.events.get("no event", 0),
        }
        return [what for what, holds in wrong.items() if holds]


class Watch(threading.Thread):
    """Looks at what the listener holds, again and again; `peak` is the most of each."""

    def __init__(self, system: System, start: Footprint) -> None:
        super().__init__(name="watch")
        self._system = system
        self._stop_watching = threading.Event()
        self.peak = start

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop_watching.wait(_WATCH_SECONDS):
            self.peak = self.peak.most(Footprint.of(self._system.pid))

    def finish(self) -> None:
        """Stop looking."""
        self._stop_watching.set()
        self.join()


def soak(options: argparse.Namespace, folder: Path) -> Report:
    """Run everything below a folder on a disk, and take the figures."""
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    account = Account()
    with System(folder) as system:
        keeper = Keeper(system)
        allowance = int(options.disk_gigabytes * _GIGABYTE)
        load = Load(
            # one in three over TLS
            [system.target, system.target, system.secure],
            account,
            lambda: account.bytes - keeper.bytes < allowance,
            options.associations,
            str(options.seed),
        )
        system.start(load.wires[0].sample)
        keeper.start()
        start = _warm_up(load, system)
        watch, hostile = (
            Watch(system, start),
            Hostile(system.target.port, system.secure.port, account, str(options.seed)),
        )
        watch.start()
        hostile.start()
        try:
            kills, drain = _meddle(options, system, load, account, chance)
        finally:
            hostile.stop()
            load.stop()
            keeper.finish()
        end = _come_to_rest(system, start)
        watch.finish()
        return Report(
            minutes=options.minutes,
            seed=options.seed,
            facts=machine.facts(folder),
            balance=balance(account, keeper, registered_in(system.engine)),
            unexplained=account.unexplained,
            broken_by_kill=account.broken_by_kill,
            seconds=_seconds(account),
            start=start,
            peak=watch.peak,
            end=end,
            kills=kills,
            drain=drain,
            attacks=dict(account.attacks),
            over_tls=account.over_tls,
            gigabytes=round(keeper.bytes / 1e9, 2),
            events=dict(Counter(str(one["event"]) for one in system.events())),
        )


def _warm_up(load: Load, system: System) -> Footprint:
    load.active = load.most
    load.start()
    time.sleep(_WARM_UP_SECONDS)
    load.active = 0
    return _come_to_rest(system, Footprint(0, 0, 0), seconds=_WARM_UP_SECONDS)


def _come_to_rest(system: System, start: Footprint, *, seconds: float = _QUIET_SECONDS) -> Footprint:
    deadline = time.monotonic() + seconds
    while True:
        now = Footprint.of(system.pid)
        if now.threads <= start.threads and now.descriptors <= start.descriptors:
            return now
        if time.monotonic() > deadline:
            return now
        time.sleep(_WATCH_SECONDS / 2)


def _meddle(
    options: argparse.Namespace, system: System, load: Load, account: Account, chance: random.Random
) -> tuple[int, tuple[int, float] | None]:
    """Change the load, kill and restart until time is over; return how often we killed, and the drain."""
    began = time.monotonic()
    end = began + options.minutes * 60
    kill_at, drain_at, change_at = began + options.kill_seconds, began + options.minutes * 30, began
    kills, drain = 0, None
    while (now := time.monotonic()) < end:
        if now >= kill_at and (victims := system.association_processes()):
            account.broke()
            os.kill(chance.choice(victims), signal.SIGKILL)
            kills += 1
            kill_at = now + options.kill_seconds
        elif drain is None and now >= drain_at:
            account.broke(away=True)
            drain = system.drain()
            system.start(load.wires[0].sample)
            account.broke(away=False)
        if now >= change_at:
            load.active = chance.randint(1, load.most)
            tell(f"{now - began:6.0f} s  {account.acknowledged.total():6} acknowledged, {kills} kills, drain {drain}")
            change_at = now + _CHANGE_SECONDS
        time.sleep(max(0.0, min(_WATCH_SECONDS, end - time.monotonic())))
    return kills, drain


def _seconds(account: Account) -> dict[str, dict[str, float]]:
    found = {}
    for size, seconds in sorted(account.seconds.items()):
        found[f"{size / 1e6:.1f}"] = {
            "stores": len(seconds),
            "p50": round(percentile(seconds, 0.5), 3),
            "p95": round(percentile(seconds, 0.95), 3),
            "most": round(max(seconds), 3),
        }
    return found


def text(report: Report) -> str:
    """Return the figures as a person reads them."""
    held = report.balance
    facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
    lines = [
        f"{report.minutes:g} minutes, seed {report.seed}; {facts}",
        f"sent {held.sent}, acknowledged {held.acknowledged}, of these over TLS {report.over_tls}",
        f"failed by kill or restart {report.broken_by_kill}, failed otherwise {len(report.unexplained)}",
        f"in the spool {held.entries} ({report.gigabytes} GB), receipts {held.registered}",
        f"lost {held.lost}, foreign {held.foreign}, damaged {held.damaged}, gaps {held.gaps}, left {held.left}",
        f"kept though the answer was cut off {held.unacknowledged}",
        f"kills {report.kills}, drain (exit code, seconds) {report.drain}",
        "attacks: " + ", ".join(f"{name} {count}" for name, count in report.attacks.items()),
        f"{'':12} {'start':>8} {'peak':>8} {'end':>8}",
    ]
    for name, scale in (("threads", 1), ("descriptors", 1), ("memory", _MEGABYTE)):
        values = (getattr(one, name) / scale for one in (report.start, report.peak, report.end))
        lines.append(f"{name:12} " + " ".join(f"{value:8.0f}" for value in values))
    lines.append(f"{'MB':>6} {'stores':>8} {'p50 s':>8} {'p95 s':>8} {'most s':>8}")
    lines += [
        f"{size:>6} {one['stores']:8.0f} {one['p50']:8.3f} {one['p95']:8.3f} {one['most']:8.3f}"
        for size, one in report.seconds.items()
    ]
    return "\n".join([*lines, *(f"WRONG: {trouble}" for trouble in report.troubles())])


def _parser() -> argparse.ArgumentParser:
    parser = soak_command.parser("bench.soak", __doc__)
    parser.add_argument("--associations", type=int, default=8, help=f"honest ones at once, at most; 8 ({SIZES} MB)")
    parser.add_argument("--kill-seconds", type=float, default=60.0, help="between two kills; 60")
    parser.add_argument("--disk-gigabytes", type=float, default=4.0, help="acknowledged and not yet looked at; 4")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Soak and tell; return the exit code."""
    options = _parser().parse_args(arguments)
    with soak_command.scratch(options) as folder:
        report = soak(options, folder)
    tell(text(report))
    soak_command.write(options, {**asdict(report), "troubles": report.troubles()})
    return 1 if report.troubles() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
