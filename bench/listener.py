"""``python -m bench.listener``: our listener beside others, one interleaved run.

Within a repetition each load meets every receiver, in an order drawn anew, so
that a machine that is slow for a while is slow for all of them.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import machine, report, results
from bench.bars import bars
from bench.encoding import Sample
from bench.idle import Idle, measure_idle
from bench.measure import Trial, Turn, failed_trial, run_trial
from bench.plot import plot
from bench.receivers import RECEIVERS, BenchFailure, Guarded, Naive, Receiver, missing
from bench.samples import SHAPES, sample
from bench.sender import Plan

# images over each association; one where nothing stands here
_EACH: Final = {1: 12, 4: 5, 16: 2}
# more associations than these come in every third repetition only: their trials take longest and spread least
_FEW_ASSOCIATIONS: Final = 16
_SELDOM: Final = 3
# enough to show that the whole path works, no measurement
_QUICK: Final = "--repetitions 1 --associations 1,2 --sizes 1 --each 2 --idle 5 --idle-seconds 0.5"


def turns(options: argparse.Namespace) -> Iterator[Turn]:
    """Yield the trials of a run in their order, which the seed decides."""
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    for repetition in range(options.repetitions):
        loads = [
            (size, count)
            for size in options.sizes
            for count in options.associations
            if count <= _FEW_ASSOCIATIONS or repetition % _SELDOM == 0
        ]
        for size, count in chance.sample(loads, len(loads)):
            plan = Plan(count, count * (options.each or _EACH.get(count, 1)))
            for receiver in chance.sample(options.receivers, len(options.receivers)):
                yield Turn(receiver, size, plan, repetition)


def measure(options: argparse.Namespace, folder: Path) -> results.Results:
    """Run everything below the folder, telling each trial as it ends."""
    date, facts = datetime.now(UTC).date().isoformat(), machine.facts(folder)
    samples = {size: sample(size) for size in options.sizes}
    plan = list(turns(options))
    trials: list[Trial] = []
    began = time.monotonic()
    for number, turn in enumerate(plan):
        try:
            trial = run_trial(turn, samples[turn.megabytes], folder / f"{number:04}")
        except BenchFailure as failure:
            # a run is long, and that a receiver fails is a result
            print(failure, file=sys.stderr)
            trial = failed_trial(turn, failure)
        trials.append(trial)
        _tell(trial, (number + 1) / len(plan), time.monotonic() - began)
    return results.Results(date, facts, trials, _idle(options, samples[max(options.sizes)], folder))


def _idle(options: argparse.Namespace, largest: Sample, folder: Path) -> list[Idle]:
    found: list[Idle] = []
    for kind in (Guarded, Naive):
        if options.idle and kind.name in {receiver.name for receiver in options.receivers}:
            try:
                found.append(
                    measure_idle(kind(folder / f"idle-{kind.name}"), largest, options.idle, options.idle_seconds)
                )
            except BenchFailure as failure:
                print(failure, file=sys.stderr)
    return found


def _tell(trial: Trial, share: float, seconds: float) -> None:
    print(
        f"{share:4.0%} {seconds:5.0f} s  {trial.receiver:18} {trial.megabytes:2} MB x {trial.images:2} over"
        f" {trial.associations:2}: {trial.rate:5.1f} images/s, {trial.cpu_milliseconds:4.0f} ms CPU,"
        f" {trial.proportional_peak / 1e6:4.0f} MB",
        *(f"{count} x {error}" for error, count in trial.errors.items()),
        flush=True,
    )


def write(run: results.Results, out: Path) -> None:
    """Write the document's section, the plot and the raw figures."""
    labels = {kind.name: kind.label for kind in RECEIVERS if kind.name in {trial.receiver for trial in run.trials}}
    results.save(run, out / "figures" / "listener.json")
    plot(run, labels, out / "figures" / "listener.svg")
    report.insert(out / "performance.md", report.markdown(run, labels, "figures/listener.svg"))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _receivers(text: str) -> list[type[Receiver]]:
    by_name = {kind.name: kind for kind in RECEIVERS}
    unknown = [name for name in text.split(",") if name not in by_name]
    if unknown:
        raise argparse.ArgumentTypeError(f"no receiver {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.listener", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--receivers", type=_receivers, default=list(RECEIVERS), help="names, with commas; all")
    parser.add_argument("--sizes", type=_numbers, default=[15, 5], help=f"megabytes, of {list(SHAPES)}; 15,5")
    parser.add_argument("--associations", type=_numbers, default=[1, 4, 16, 64], help="at once; 1,4,16,64")
    parser.add_argument("--repetitions", type=int, default=5, help="of every load; 5")
    parser.add_argument("--each", type=int, help="images over each association; by their number")
    parser.add_argument("--idle", type=int, default=200, help="associations attempted and left idle; 200, 0 for none")
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="that they are measured; 20")
    parser.add_argument("--seed", type=int, default=5, help="of the order")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="on a disk; /var/tmp")  # noqa: S108
    parser.add_argument("--in-memory", action="store_true", help="allow a scratch folder where fsync costs nothing")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of performance.md; docs")
    parser.add_argument("--render", type=Path, help="write the report from these raw figures, measure nothing")
    parser.add_argument("--quick", action="store_true", help="a trial that everything works: " + _QUICK)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return parser.parse_args([*_QUICK.split(), *arguments]) if options.quick else options


def main(arguments: Sequence[str]) -> int:
    """Measure and write; return the exit code."""
    options = parse(arguments)
    if options.render is not None:
        write(results.load(options.render), options.out)
        return 0
    lacking = missing(options.receivers)
    if not options.in_memory and machine.is_in_memory(options.scratch.resolve()):
        lacking.append(
            f"{options.scratch} is in memory, where fsync costs nothing: give --scratch on a disk, or --in-memory"
        )
    if lacking:
        print(*lacking, sep="\n", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="lungwatch-bench-", dir=options.scratch))
    try:
        run = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write(run, options.out)
    for bar in bars(run):
        print(f"{'met   ' if bar.met else 'MISSED'} {bar.what}: {bar.measured}, {bar.bound}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
