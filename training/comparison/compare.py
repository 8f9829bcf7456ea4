"""From an order to a report: fit, judge, write."""

from __future__ import annotations

from core.files import write_durably
from training.alone import alone
from training.comparison.contenders import contender
from training.comparison.judging import judge
from training.comparison.report import Comparison, json_text, markdown, page
from training.comparison.runner import Order, Watcher, fit_all
from training.drawing import require_matplotlib

REPORTS = {"report.html": page, "report.md": markdown, "report.json": json_text}


def compare(order: Order, watcher: Watcher, required_sensitivity: float, resamples: int = 1000) -> Comparison:
    """Fit every contender, judge it, and write the reports into the order's folder.

    Interrupted at any moment, the same order goes on where it stopped.

    Raises
    ------
    DatasetError, FitFailed
        Saying what to do; also where another run is at work in the same folder.
    """
    require_matplotlib()
    for one in order.models:
        # refused before anything is read or begun
        contender(one, order.epochs, order.backbone_weights, as_notebook=order.as_notebook)
    with alone(order.out):
        return _compare(order, watcher, required_sensitivity, resamples)


def _compare(order: Order, watcher: Watcher, required_sensitivity: float, resamples: int) -> Comparison:
    fits = fit_all(order, watcher)
    step = watcher.stage("judge", 2 * len(fits.contenders))
    judgements = tuple(
        judge(fits.items, fits.plan.folds, fits.results[one.name], required_sensitivity, resamples, lambda: step(1))
        for one in fits.contenders
    )
    comparison = Comparison(fits, judgements, required_sensitivity)
    for name, render in REPORTS.items():
        write_durably(order.out / name, render(comparison).encode())
    return comparison
