"""``python -m tests.fuzz``: mutated DICOM sessions against a real listener, by a seed, for some minutes.

Exits with 1 at the first finding, and says how to play it again.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.campaign import PLAYERS, Campaign, Finding
from tests.fuzz.mutations import generate
from tests.fuzz.session import Session, load

ROUND = 80
# between two looks at what the listener holds when all is quiet
REST_SECONDS = 10.0


def fuzz(campaign: Campaign, rounds: Iterator[Sequence[Session]], seconds: float, *, players: int = PLAYERS) -> None:
    """Play round after round until they or the time are over.

    Raises
    ------
    Finding
    """
    end = time.monotonic() + seconds
    rest_at = time.monotonic() + REST_SECONDS
    for sessions in rounds:
        campaign.round(sessions, players=players)
        if time.monotonic() >= rest_at:
            campaign.rest()
            rest_at = time.monotonic() + REST_SECONDS
        if time.monotonic() >= end:
            break
    campaign.rest()


def rounds_of(seed: int, first: int = 0) -> Iterator[Sequence[Session]]:
    """All sessions of a seed, without end."""
    while True:
        yield [generate(seed, number) for number in range(first, first + ROUND)]
        first += ROUND


def summary(campaign: Campaign, seconds: float) -> str:
    """Say what was played and what it has reached."""
    stores, stalls = campaign.scene.honest.stores, campaign.scene.stalls.seen
    slowest = max((one.seconds for one in stores), default=0.0)
    stood_still = sum(end - began for began, end in stalls)
    lines = [f"{campaign.sessions} sessions in {seconds:.0f} s, {len(stores)} honest stores"]
    lines.append(f"slowest honest store {slowest:.2f} s; the machine stood still for {stood_still:.1f} s; reached:")
    lines += [f"{count:8}  {what}" for what, count in sorted(campaign.reached.items())]
    lines.append("fewest times played: " + ", ".join(f"{what} {n}" for what, n in campaign.mutated.most_common()[-5:]))
    return "\n".join(lines)


def _tell(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; 10")
    parser.add_argument("--seed", type=int, help="of the sessions; drawn anew unless given")
    parser.add_argument("--first", type=int, default=0, help="number of the session to begin with; 0")
    parser.add_argument("--players", type=int, default=PLAYERS, help=f"sessions at once; {PLAYERS}")
    parser.add_argument("--replay", type=Path, help="play the sessions of this file once, instead")
    parser.add_argument("--save", type=Path, default=Path(), help="folder for the sessions of a finding; this one")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run a campaign; return the exit code."""
    options = _parser().parse_args(arguments)
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    _tell(f"seed {seed}, sessions from {options.first}")
    rounds = rounds_of(seed, options.first) if options.replay is None else iter([load(options.replay)])
    saved = options.save / (f"fuzz-{seed}.jsonl" if options.replay is None else f"again-{options.replay.name}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lungwatch-fuzz-") as folder:
        try:
            with Campaign.begin(Path(folder) / "data", saved.resolve()) as campaign:
                fuzz(campaign, rounds, options.minutes * 60, players=options.players)
        except Finding as finding:
            _tell(f"seed {seed}: {finding}")
            return 1
    _tell(summary(campaign, time.monotonic() - began))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
