"""The report as one HTML page that needs nothing from elsewhere and runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final

from db.vocabulary import ImageClass, Side
from training.nightly.gate.decision import Decision, Finding, Rule, Standing
from training.nightly.report import plots
from training.nightly.report.compared import confusions, curves, models, subgroups
from training.nightly.report.looked_at import THUMBNAIL, disagreements, drift
from training.nightly.report.markup import badge, figure, wide, wording
from training.nightly.report.measured import Measures
from training.nightly.report.night import Night
from training.nightly.report.summary import duration, headline, reasons, warnings
from training.pages import STYLE, document, table

_STANDINGS: Final = (Standing.BROKEN, Standing.UNTOLD, Standing.HELD)
_STYLE: Final = f"""{STYLE}
svg {{ max-width: 100%; height: auto; }} svg text {{ fill: currentColor; }}
.wide {{ overflow-x: auto; }} .headline {{ font-size: 1.15rem; font-weight: 600; margin: .4rem 0; }}
.badge {{ font-size: .8rem; font-weight: 600; padding: .1rem .5rem; border: 2px solid #8888; border-radius: 1rem; }}
.badge.good {{ border-color: #009e73; }} .badge.mild {{ border-color: #b07d12; }}
.badge.grave {{ border-color: #d55e00; }}
.look {{ border-left: 4px solid #b07d12; padding-left: .7rem; }}
.two {{ display: flex; flex-wrap: wrap; gap: 0 2.5rem; }} caption {{ text-align: left; font-weight: 600; }}
.share {{ display: inline-block; height: .7em; background: #0072b2; print-color-adjust: exact; }}
.share.recent {{ background: #d55e00; }}
.charts, .shown {{ display: flex; flex-wrap: wrap; gap: .9rem; }} .charts figure {{ max-width: 24rem; }}
.shown img, .gone {{ width: {THUMBNAIL}px; height: {THUMBNAIL}px; object-fit: contain; background: #000; }}
.gone {{ display: grid; place-content: center; background: #8883; font-size: .85rem; }}
@media print {{
  body {{ max-width: none; margin: 0; font-size: 10pt; }} h2 {{ break-after: avoid; }}
  figure, tr, .look {{ break-inside: avoid; }} .wide {{ overflow: visible; }}
}}
"""


def page(night: Night, test: Measures | None, recent: Measures | None) -> str:
    """Return the page; what matters most comes first, and what the night did not come to is left out.

    Parameters
    ----------
    test, recent : Measures or None
        Of `night.test` and `night.recent`.
    """
    sets = [
        (examined, measures)
        for examined, measures in ((night.test, test), (night.recent, recent))
        if examined is not None and measures is not None
    ]
    parts = [
        *_first(night, test, recent),
        *models(night, sets),
        *_gate(night.decision),
        *curves(night, sets),
        *confusions(night, sets),
        *subgroups(night, sets),
        *drift(night.drift),
        *_data(night),
        *_fit(night),
        *disagreements(night.disagreements),
        *_run(night),
    ]
    return document(f"Night of {night.night}: {night.state}", parts, _STYLE)


def _first(night: Night, test: Measures | None, recent: Measures | None) -> Iterator[str]:
    verdict = f" Gate: {badge(night.decision.verdict)}" if night.decision else ""
    kind = f" {escape(night.kind)}" if night.kind else ""
    yield f"<h1>Night of {night.night}</h1>"
    yield f"<p>{badge(night.state)}{kind}{verdict}</p>"
    yield f'<p class="headline">{escape(headline(night))}</p>'
    for words in reasons(night):
        yield f"<p>{escape(words)}</p>"
    if found := warnings(night, test, recent):
        listed = "".join(f"<li>{escape(words)}</li>" for words in found)
        yield f'<div class="look"><h2>To look at</h2><ul>{listed}</ul></div>'


def _gate(decision: Decision | None) -> Iterator[str]:
    if decision is None:
        return
    rows = [_finding(finding) for standing in _STANDINGS for finding in decision.of(standing)]
    yield f"<h2>The gate: {decision.verdict}</h2>"
    yield (
        f"<p>Tonight's level for superiority in {escape(wording(decision.rules.metric))} was {decision.alpha:.2g}, "
        f"one-sided; nights spent within a year: {len(decision.spending.nights)}."
        + (" As it stands the challenger has lost nothing to the anchor." if decision.becomes_anchor else "")
        + "</p>"
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("rule", "came out", "found"))
    yield wide(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def _finding(finding: Finding) -> str:
    named = finding.rule.replace("_", " ")
    if finding.rule is Rule.NOT_INFERIOR and finding.figure is not None:
        named += f", {wording(finding.figure)}"
    return (
        f"<tr><td>{escape(named)}</td><td>{badge(finding.standing)}</td>"
        f"<td>{escape(finding.words[:1].upper() + finding.words[1:])}.</td></tr>"
    )


def _data(night: Night) -> Iterator[str]:
    labels, material = night.labels, night.material
    by_origin = {origin.value: counts for origin, counts in labels.by_origin.items()} if labels else {}
    by_side = {side.value: material.counts[side] for side in Side if side in material.counts} if material else {}
    if labels or material:
        yield "<h2>Labels and snapshot</h2>"
    if by_origin or by_side:
        tables = {"labels by origin": by_origin, "pictures of the snapshot by side": by_side}
        yield figure(plots.counts(tables), "How many there are of either class.")
    yield '<div class="two">'
    if labels:
        yield f"<div>{table(('origin', *ImageClass, 'all'), _counted(by_origin))}"
        yield (
            f"<p>{labels.new:,} are new or changed since the last challenger; a night trains with "
            f"{labels.wanted:,} or more.</p></div>"
        )
    if material:
        yield f"<div>{table(('side', *ImageClass, 'all'), _counted(by_side))}"
        yield (
            f"<p>{material.patients:,} patients; {material.pixels_gone:,} labelled pictures without pixels. Snapshot "
            f"<code>{escape(material.digest[:12])}</code>.</p></div>"
        )
    yield "</div>"


def _counted(counts: Mapping[str, Mapping[ImageClass, int]]) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{some.get(label, 0):,}" for label in ImageClass), f"{sum(some.values()):,}")
        for name, some in counts.items()
    ]


def _fit(night: Night) -> Iterator[str]:
    if not night.epochs:
        return
    yield "<h2>The challenger's fit</h2>"
    whole = sum(epoch.seconds for epoch in night.epochs)
    yield figure(
        plots.learning(night.epochs),
        f"{len(night.epochs)} epochs in {duration(whole)}. Losses weigh both classes alike.",
    )


def _run(night: Night) -> Iterator[str]:
    ended = f", ended {night.finished_at:%Y-%m-%d %H:%M:%S %Z}" if night.finished_at else ""
    yield f"<h2>The run</h2><p>Started {night.started_at:%Y-%m-%d %H:%M:%S %Z}{ended}.</p>"
    yield '<div class="two">'
    if night.steps:
        yield table(("step", "took"), [(taken.step, duration(taken.seconds)) for taken in night.steps])
    if night.settings:
        yield table(("setting", "value"), night.settings.items(), words=2)
    yield "</div>"
