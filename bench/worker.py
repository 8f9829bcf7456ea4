"""``python -m bench.worker``: what the workers are made of and what they reach, in parts that can be run alone."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import inference, journeys, machine, receivers, worker_decoding
from bench.bars import Bar
from bench.systems import Naive

# each measures below a folder, writes its section of the document, and returns its bars
PARTS: Final[dict[str, Callable[[argparse.Namespace, Path], list[Bar]]]] = {
    "decoding": worker_decoding.run,
    "inference": inference.run,
    "end-to-end": journeys.run,
}
_QUICK: Final = (
    "--repetitions 1 --side 700 --journey-repetitions 1 --associations 1,4 --each-ours 8 --each-naive 4"
    " --paced-seconds 3"
)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parts(text: str) -> list[str]:
    unknown = [name for name in text.split(",") if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return text.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"with commas, of {', '.join(PARTS)}; all")
    parser.add_argument("--plugins", type=Path, help="folder of pydicom's decoders (requirements/bench.txt)")
    parser.add_argument("--seed", type=int, default=6, help="of the order")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="on a disk; /var/tmp")  # noqa: S108
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of performance.md; docs")
    parser.add_argument("--quick", action="store_true", help="a trial that everything works: " + _QUICK)
    decoding = parser.add_argument_group("decoding")
    decoding.add_argument("--repetitions", type=int, default=7, help="of every file; 7")
    decoding.add_argument("--side", type=int, default=3000, help="longer side of the image, pixels; 3000")
    end_to_end = parser.add_argument_group("end to end")
    end_to_end.add_argument("--journey-repetitions", type=int, default=3, help="of every load; 3")
    end_to_end.add_argument("--associations", type=_numbers, default=[1, 4, 16], help="at once; 1,4,16")
    end_to_end.add_argument("--each-ours", type=int, default=48, help="images of a load for Lungwatch; 48")
    end_to_end.add_argument("--each-naive", type=int, default=16, help="and for the naive way; 16")
    end_to_end.add_argument("--paced-seconds", type=float, default=15.0, help="for which half the rate is sent; 15")
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return parser.parse_args([*_QUICK.split(), *arguments]) if options.quick else options


def main(arguments: Sequence[str]) -> int:
    """Measure and write; return the exit code."""
    options = parse(arguments)
    lacking = []
    if worker_decoding.missing(options.plugins):
        lacking.append("pydicom's decoders are not there: make bench-worker installs them")
    if "end-to-end" in options.parts:
        lacking += receivers.missing([Naive])
        if machine.is_in_memory(options.scratch.resolve()):
            lacking.append(f"{options.scratch} is in memory, where fsync costs nothing: give --scratch on a disk")
    if lacking:
        print(*lacking, sep="\n", file=sys.stderr)
        return 2
    found: list[Bar] = []
    # what was started is stopped on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="lungwatch-bench-", dir=options.scratch) as folder:
        for name in options.parts:
            part = Path(folder) / name
            part.mkdir()
            found += PARTS[name](options, part)
    for bar in found:
        print(f"{'met   ' if bar.met else 'MISSED'} {bar.what}: {bar.measured}, {bar.bound}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
