"""The ledger's figures: kept as JSON, and said in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.figures import percentile
from bench.report import table

_GIGABYTE: Final = 1e9


@dataclass(frozen=True, slots=True)
class Measured:
    """One query.

    Attributes
    ----------
    name : str
    bar_milliseconds : float or None
    cold, warm : list of float
        Milliseconds of each execution: the first ones after a restart with nothing cached, and later ones.
    processor : list of float
        Of each warm one, milliseconds that it kept a processor busy, ours or the server's: what is left of it on a
        machine that does nothing else, but for the disk.
    indexes : list of str
        That its statements read.
    scans : list of str
        Tables of many rows that they read from end to end.
    """

    name: str
    bar_milliseconds: float | None
    cold: list[float]
    warm: list[float]
    processor: list[float]
    indexes: list[str]
    scans: list[str]

    @property
    def p95(self) -> float:
        """Of warm executions, milliseconds."""
        return percentile(self.warm, 0.95)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything one run measured.

    Attributes
    ----------
    counts : dict
        Rows of each table.
    size : int
        Bytes of the database.
    load_seconds : float or None
        None where it was loaded before.
    waiting : int
        Rows of the reader's list.
    plan : str
        How PostgreSQL finds a page of that list.
    """

    date: str
    machine: dict[str, str]
    counts: dict[str, int]
    size: int
    load_seconds: float | None
    waiting: int
    queries: list[Measured]
    plan: str


def save(run: Run, path: Path) -> None:
    """Write as JSON, one query a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = asdict(run)
    queries = ",\n".join(json.dumps(query) for query in head.pop("queries"))
    start = json.dumps(head, indent=1)
    path.write_text(f'{start.rstrip("}").rstrip()},\n"queries": [\n{queries}\n]}}\n')


def load(path: Path) -> Run:
    """Read what `save` wrote."""
    raw = json.loads(path.read_text())
    queries = [Measured(**query) for query in raw.pop("queries")]
    return Run(queries=queries, **raw)


def bars(run: Run) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what, bound, what was measured, and whether it was met."""
    for query in run.queries:
        if query.bar_milliseconds is not None:
            yield (
                f"{query.name}: 95th percentile",
                f"under {query.bar_milliseconds:g} ms",
                f"{query.p95:.1f} ms",
                query.p95 < query.bar_milliseconds,
            )


def markdown(run: Run) -> str:
    """Return the whole section: machine, bars, size, one row a query, a plan."""
    machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    rows = ", ".join(f"{count:,} `{name}`" for name, count in run.counts.items())
    loaded = "" if run.load_seconds is None else f", loaded and indexed in {run.load_seconds / 60:.0f} minutes"
    return "\n\n".join(
        [
            f"Measured on {run.date}: {machine}.",
            f"Rows: {rows}; {run.size / _GIGABYTE:.1f} GB{loaded}. {run.waiting:,} rows wait for a reader.",
            table(
                ("what the ledger must reach", "bar", "measured", "verdict"),
                [(what, bound, said, "met" if met else "**missed**") for what, bound, said, met in bars(run)],
            ),
            table(
                (
                    *("milliseconds", "warm: median", "p95", "most", "on processors: median", "p95"),
                    *("cold: median", "most", "indexes read", "whole tables"),
                ),
                [
                    (
                        query.name,
                        *(f"{percentile(query.warm, share):.1f}" for share in (0.5, 0.95, 1.0)),
                        *(f"{percentile(query.processor, share):.1f}" for share in (0.5, 0.95)),
                        *((f"{percentile(query.cold, share):.1f}" for share in (0.5, 1.0)) if query.cold else ("", "")),
                        ", ".join(f"`{name}`" for name in query.indexes),
                        ", ".join(query.scans) or "none",
                    )
                    for query in run.queries
                ],
            ),
            f"How PostgreSQL finds a page of the reader's list:\n\n```\n{run.plan}\n```",
        ]
    )
