"""The sections of the page that show drift and single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from training.nightly.report import plots
from training.nightly.report.choosing import MOST
from training.nightly.report.markup import badge, figure
from training.nightly.report.night import Disagreement, DriftPanel, DriftShown
from training.pages import photograph, thumbnail

THUMBNAIL: Final = 176


def drift(found: DriftShown | None) -> Iterator[str]:
    """Give what was found of drift, a panel for each measure."""
    if found is None:
        return
    yield f"<h2>Drift {badge(found.level)}</h2><p>{escape(found.words)}</p>"
    if found.blocks:
        yield "<p>It blocks promotion.</p>"
    yield '<div class="charts">' + "".join(map(_panel, found.panels)) + "</div>"


def _panel(panel: DriftPanel) -> str:
    words = f"<b>{escape(panel.name)}</b> {badge(panel.level)} {escape(panel.words)}"
    if panel.categories:
        return figure(_categories(panel), words)
    return figure(plots.drift(panel) if panel.reference else "", words)


def _categories(panel: DriftPanel) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{_share(before, "")}{_share(now, " recent")}</tr>'
        for name, before, now in zip(panel.categories, panel.reference, panel.recent, strict=True)
    )
    head = '<tr><th scope="col"></th><th scope="col">reference</th><th scope="col">recent</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _share(share: float, kind: str) -> str:
    return f'<td>{share:.1%}<br><span class="share{kind}" style="width: {5 * share:.2f}rem"></span></td>'


def disagreements(shown: Sequence[Disagreement]) -> Iterator[str]:
    """Give the first pictures with what each model said of them."""
    if not shown:
        return
    yield "<h2>Most confident disagreements</h2>"
    yield (
        '<p class="note">Called otherwise than labelled, by the pictures\' numbers in the ledger: a mistake of the '
        "model, or one of the label.</p>"
    )
    yield '<div class="shown">' + "".join(map(_disagreement, shown[:MOST])) + "</div>"


def _disagreement(one: Disagreement) -> str:
    words = f"picture {one.number}, labelled {one.label}"
    if one.thumbnail is None:
        shown = '<div class="gone">pixels gone</div>'
    else:
        shown = photograph(thumbnail(one.thumbnail, THUMBNAIL), words)
    said = "<br>".join(f"{role} {score:.4f}" for role, score in one.scores.items())
    caption = f"<b>{one.number}</b> {one.label}, {one.examined_on}<br>{said}"
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"
