"""The report as a short text, for mail or log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from training.examination.words import cell
from training.nightly.report.measured import Measures
from training.nightly.report.night import Night
from training.nightly.report.summary import duration, headline, named, reasons, size, warnings

_WIDTH: Final = 100
_SHOWN: Final = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity"}
_CELL: Final = 24


def text(night: Night, test: Measures | None, recent: Measures | None) -> str:
    """Return the text; what matters most comes first."""
    return "\n".join(_lines(night, test, recent)) + "\n"


def _lines(night: Night, test: Measures | None, recent: Measures | None) -> Iterator[str]:
    kind = f", {night.kind}" if night.kind else ""
    yield f"Lungwatch, night of {night.night}{kind}: {night.state}"
    yield from _wrapped(headline(night))
    if night.decision:
        yield f"Gate: {night.decision.verdict}"
    for words in reasons(night):
        yield from _wrapped(words)
    if found := warnings(night, test, recent):
        yield from ("", "Look at:")
        for words in found:
            yield from _wrapped(words, "- ")
    for examined, measures in ((night.test, test), (night.recent, recent)):
        if examined and measures and measures.images:
            yield from ("", f"On the {named(night, examined)}: {size(measures)}")
            yield from _figures(measures)
    yield ""
    if night.labels:
        count = sum(sum(counts.values()) for counts in night.labels.by_origin.values())
        yield f"Labels: {count:,}, {night.labels.new:,} new or changed; a night trains with {night.labels.wanted:,}"
    if night.drift:
        yield from _wrapped(f"Drift: {night.drift.level}. {night.drift.words}")
    if night.steps:
        yield from _wrapped("Steps: " + ", ".join(f"{taken.step} {duration(taken.seconds)}" for taken in night.steps))
    yield "Plots and subgroups: report.html beside this text."


def _figures(measures: Measures) -> Iterator[str]:
    width = max(len(role) for role in measures.models) if measures.models else 0
    yield "  ".join([" " * (width + 2), *(f"{title:{_CELL}}" for title in _SHOWN.values())]).rstrip()
    for role, found in measures.models.items():
        if found.problem is None:
            cells = (f"{cell(found.figures.get(name)):{_CELL}}" for name in _SHOWN)
            yield "  ".join([f"  {role:{width}}", *cells]).rstrip()


def _wrapped(words: str, bullet: str = "") -> list[str]:
    return textwrap.wrap(
        words, _WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_on_hyphens=False
    )
