"""The end-to-end part of `bench.worker`: from C-STORE to a committed row, ours beside the naive way, interleaved.

Within a repetition both systems run, and each load meets both, one after the
other, in an order drawn anew; the one that is not measured has nothing to do.
Then ours alone is given images at half the rate it reached.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Final

from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from bench import journeys_report, machine, processes
from bench.association import SUCCESS, Sent, open_link, store
from bench.bars import Bar
from bench.encoding import Sample, new_uid
from bench.figures import spread
from bench.journeys_report import Journey, Journeys
from bench.measure import claim_memory, message_for
from bench.receivers import BenchFailure
from bench.samples import sample, vary
from bench.sender import Load, Plan, succeeded
from bench.systems import Lungwatch, Naive, Rows, System, write_model

_MEGABYTES: Final = 15
SYNTAXES: Final = (ExplicitVRLittleEndian, JPEG2000Lossless)
_WARM_UP_IMAGES: Final = 4
_LOOK_SECONDS: Final = 0.02
_MEMORY_SECONDS: Final = 0.5
# without a new row for so long, none comes any more; TensorFlow in two processes takes its time to start
_PATIENCE_SECONDS: Final = 60.0
_HALF: Final = 0.5
_PACED_ASSOCIATIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """A load to come."""

    syntax: UID
    plan: Plan
    repetition: int
    pace: float | None = None


class Running:
    """A system that runs, warmed up, and what watches it."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._rows = Rows(system)
        self._memory_due = 0.0
        self._memory = processes.Memory(0, 0)

    def warm_up(self) -> None:
        """Send some images of each syntax and wait for their rows.

        Raises
        ------
        BenchFailure
            If one is refused, or no row comes.
        """
        chance = random.Random(str(self.system.folder))  # noqa: S311 - repeatable
        for syntax in SYNTAXES:
            made = made_sample(syntax)
            message = message_for(made, self.system.wait_ready(made))
            link = open_link(self.system.target, made)
            head, change, sent = bytearray(message.head), vary(_MEGABYTES), list[Sent]()
            for _ in range(_WARM_UP_IMAGES):
                change(head, chance)
                sent.append(store(link, message, head, new_uid(chance)))
            link.close()
            self._await_rows(sent)
            if len(succeeded(sent)) < _WARM_UP_IMAGES or any(one.uid not in self._rows.seen for one in sent):
                raise BenchFailure(f"{self.system.name} makes no rows of the first images:\n{self.system.said()}")

    def run(self, turn: Turn) -> Journey:
        """Send a load and wait for its rows."""
        system = self.system
        made = made_sample(turn.syntax)
        message = message_for(made, system.wait_ready(made))
        claim_memory(system.folder.with_suffix(".fill"), turn.plan.images * len(made.data_set))
        used, self._memory = self._cpu_seconds(), processes.Memory(0, 0)
        seed = f"{system.name}/{turn.syntax}/{turn.plan.associations}/{turn.repetition}/{turn.pace}"
        with Load(system.target, made, message, turn.plan, seed, vary=vary(_MEGABYTES), pace=turn.pace) as load:
            sent = load.run(self._look, _LOOK_SECONDS).sent
            self._await_rows(sent)
        return self._journey(turn, sent, self._cpu_seconds() - used)

    def close(self) -> None:
        """Close the ledger."""
        self._rows.close()

    def _look(self) -> None:
        self._rows.look()
        now = time.monotonic()
        if now >= self._memory_due:
            self._memory_due = now + _MEMORY_SECONDS
            found = [processes.memory(root) for root in self.system.workers()]
            self._memory = processes.Memory(
                max(self._memory.proportional, sum(one.proportional for one in found)),
                max(self._memory.resident, sum(one.resident for one in found)),
            )

    def _await_rows(self, sent: Sequence[Sent]) -> None:
        wanted = {one.uid for one in sent if one.status == SUCCESS}
        deadline, had = time.monotonic() + _PATIENCE_SECONDS, len(self._rows.seen)
        while wanted - self._rows.seen.keys() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            self._look()
            if len(self._rows.seen) > had:
                deadline, had = time.monotonic() + _PATIENCE_SECONDS, len(self._rows.seen)

    def _cpu_seconds(self) -> float:
        return sum(processes.cpu_seconds(root) for root in self.system.roots())

    def _journey(self, turn: Turn, sent: list[Sent], cpu: float) -> Journey:
        good, seen = succeeded(sent), self._rows.seen
        arrived = [one for one in good if one.uid in seen]
        errors = Counter(one.error or f"status {one.status or 0:04X}" for one in sent if one not in good)
        if len(arrived) < len(good):
            errors["acknowledged, and no row"] = len(good) - len(arrived)
        took = max((seen[one.uid] for one in arrived), default=0.0) - min(one.began for one in sent)
        return Journey(
            system=self.system.name,
            syntax=turn.syntax.keyword,
            associations=turn.plan.associations,
            images=turn.plan.images,
            repetition=turn.repetition,
            pace=turn.pace,
            rate=len(arrived) / took if arrived else 0.0,
            seconds=[round(seen[one.uid] - one.answered, 3) for one in arrived],
            cpu_milliseconds=1000 * cpu / max(1, len(arrived)),
            proportional=self._memory.proportional,
            resident=self._memory.resident,
            errors=dict(errors),
        )


@cache
def made_sample(syntax: UID) -> Sample:
    """Compute the object of a syntax once."""
    return sample(_MEGABYTES, syntax)


def run(options: argparse.Namespace, folder: Path) -> list[Bar]:
    """Measure below the folder and write the document's section, the plot and the raw figures."""
    found = measure(options, folder)
    journeys_report.write(found, options.out)
    return journeys_report.bars(found)


def measure(options: argparse.Namespace, folder: Path) -> Journeys:
    """Run everything below the folder, telling each load as it ends."""
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    date = datetime.now(UTC).date().isoformat()
    facts = {name: value for name, value in machine.facts(folder).items() if name not in {"dcmtk", "Orthanc"}}
    model = folder / "naive.keras"
    write_model(model)
    found: list[Journey] = []
    for repetition in range(options.journey_repetitions):
        home = folder / f"journeys-{repetition}"
        home.mkdir()
        with ExitStack() as stack:
            ours = _start(stack, Lungwatch(home / "lungwatch"))
            with ExitStack() as theirs_stack:
                theirs = _start(theirs_stack, Naive(home / "naive", model, options.plugins))
                for one in (ours, theirs):
                    one.warm_up()
                for syntax, count in _loads(options, chance):
                    for one in chance.sample((ours, theirs), 2):
                        each = options.each_ours if one is ours else options.each_naive
                        images = count * max(1, round(each / count))
                        found.append(_tell(one.run(Turn(syntax, Plan(count, images), repetition))))
            for syntax in SYNTAXES:
                found.append(_tell(ours.run(_paced(options, found, syntax, repetition))))
        shutil.rmtree(home, ignore_errors=True)
    return Journeys(date, {**facts, "TensorFlow": version("tensorflow")}, found)


def _loads(options: argparse.Namespace, chance: random.Random) -> list[tuple[UID, int]]:
    loads = [(syntax, count) for syntax in SYNTAXES for count in options.associations]
    return chance.sample(loads, len(loads))


def _paced(options: argparse.Namespace, found: Sequence[Journey], syntax: UID, repetition: int) -> Turn:
    """Return ours at half the best rate over associations that it reached so far."""
    mine = [one for one in found if one.system == Lungwatch.name and one.syntax == syntax.keyword and one.pace is None]
    mine.sort(key=lambda one: one.associations)
    rates = [spread([one.rate for one in group]).median for _, group in groupby(mine, lambda one: one.associations)]
    pace = _HALF * max(rates)
    images = _PACED_ASSOCIATIONS * max(1, round(pace * options.paced_seconds / _PACED_ASSOCIATIONS))
    return Turn(syntax, Plan(_PACED_ASSOCIATIONS, images), repetition, pace)


def _start(stack: ExitStack, system: System) -> Running:
    stack.enter_context(system)
    running = Running(system)
    stack.callback(running.close)
    return running


def _tell(one: Journey) -> Journey:
    pace = "" if one.pace is None else f" at {one.pace:.1f} a second"
    slowest = max(one.seconds, default=0.0)
    print(
        f"{one.system:9} {one.syntax:22} x {one.images:2} over {one.associations:2}{pace}: {one.rate:5.2f} images/s,"
        f" slowest row {slowest:5.2f} s, {one.cpu_milliseconds:4.0f} ms CPU, workers {one.proportional / 1e6:4.0f} MB",
        *(f"{count} x {error}" for error, count in one.errors.items()),
        flush=True,
    )
    return one
