"""The figures as Markdown, put between two marks of a document whose other text is written by people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.bars import bars
from bench.results import Results, Summary, summarise

_BEGIN: Final = "<!-- {section}: written by make {target} from here -->"
_END: Final = "<!-- {section}: to here -->"
_MEGABYTE: Final = 1e6


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are aligned left, the others right."""
    rules = ["---" if column < left else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rules, *rows])


def markdown(results: Results, labels: Mapping[str, str], picture: str) -> str:
    """Return the whole section: machine, bars, picture, one table a size, idle associations.

    Parameters
    ----------
    labels : mapping
        Receivers' names to what they are called; only these are shown, in this order.
    picture : str
        Where the plot lies, as seen from the document.
    """
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    parts = [
        f"Measured on {results.date}: {machine}.",
        _bars(results),
        f"![Images a second, processor time and memory of each receiver]({picture})",
        *(_size(results, labels, size) for size in results.sizes),
        *([_idle(results, labels)] if results.idle else []),
    ]
    return "\n\n".join(part for part in parts if part)


def _bars(results: Results) -> str:
    found = bars(results)
    if not found:
        return ""
    rows = [(bar.what, bar.bound, bar.measured, "met" if bar.met else "**missed**") for bar in found]
    return table(("what Lungwatch must reach", "bar", "measured (spread)", "verdict"), rows)


def _size(results: Results, labels: Mapping[str, str], size: int) -> str:
    header = (
        *("associations", "receiver", "images/s (spread)", "p95 acknowledged, s", "CPU ms/image"),
        *("peak PSS, MB", "peak RSS, MB", "errors"),
    )
    rows = []
    for count in results.associations:
        for name, label in labels.items():
            trials = results.of(name, size, count)
            if trials:
                rows.append((str(count), label, *_cells(summarise(trials))))
    return f"### {size} MB objects\n\n{table(header, rows, left=2)}"


def _cells(summary: Summary) -> tuple[str, ...]:
    rate = summary.rate
    return (
        f"{rate.median:.1f} ({rate.low:.1f} to {rate.high:.1f})",
        "none" if summary.p95_seconds is None else f"{summary.p95_seconds:.2f}",
        f"{summary.cpu_milliseconds.median:.0f}",
        f"{summary.proportional_peak / _MEGABYTE:.0f}",
        f"{summary.resident_peak / _MEGABYTE:.0f}",
        f"{summary.errors} of {summary.images}" if summary.errors else "0",
    )


def _idle(results: Results, labels: Mapping[str, str]) -> str:
    header = ("receiver", "attempted", "admitted", "open at the end", "share of a core", "slowest store, s", "refused")
    rows = [
        (
            labels.get(idle.receiver, idle.receiver),
            *(str(count) for count in (idle.attempted, idle.admitted, idle.still_open)),
            f"{idle.core_share:.1%}",
            f"{max(idle.store_seconds):.2f}" if idle.store_seconds else "none",
            f"{len(idle.refused)} of {len(idle.refused) + len(idle.store_seconds)}",
        )
        for idle in results.idle
    ]
    return f"### Idle associations\n\n{table(header, rows)}"


def insert(document: Path, section: str, target: str = "bench-listener", part: str = "") -> None:
    """Replace what stands between the marks of a target, or a part of one; a document without gets them at its end."""
    name = f"{target}, {part}" if part else target
    begin, end = _BEGIN.format(section=name, target=target), _END.format(section=name)
    before, after = "", ""
    if document.exists():
        text = document.read_text()
        before, found, rest = text.partition(begin)
        after = rest.partition(end)[2] if found else ""
        if not found:
            before = text.rstrip() + "\n\n"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(f"{before}{begin}\n\n{section}\n\n{end}{after or chr(10)}")
