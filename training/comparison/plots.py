"""The plots of a comparison, as SVG: curves of fitting, confusion, ROC and precision-recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from training.comparison.judging import Confusion, Judgement, View
from training.comparison.record import Point
from training.drawing import operating_curve, panels, reliability, svg
from training.examination.reliability import ECE_BINS, bins_of

_FAINT: Final = 0.35


def curves(folds: Sequence[Sequence[Point]]) -> bytes:
    """Draw accuracy and loss by epoch, one line a fold, of images fitted on and images scored."""
    figure, (left, right) = panels(2)
    strength = 1.0 if len(folds) == 1 else _FAINT
    for number, points in enumerate(folds):
        epochs = [point.number for point in points]
        words = ("fitted on", "scored") if number == 0 else (None, None)
        if all(point.accuracy is not None for point in points):
            left.plot(epochs, [point.accuracy for point in points], "C0", alpha=strength, label=words[0])
        left.plot(epochs, [point.scored_accuracy for point in points], "C1", alpha=strength, label=words[1])
        right.plot(epochs, [point.loss for point in points], "C0", alpha=strength, label=words[0])
        right.plot(epochs, [point.scored_loss for point in points], "C1", alpha=strength, label=words[1])
    left.set(xlabel="epoch", ylabel="accuracy")
    right.set(xlabel="epoch", ylabel="loss")
    right.legend(frameon=False)
    return svg(figure)


def confusions(judgement: Judgement) -> bytes:
    """Draw the confusion matrices at argmax and at the operating point."""
    figure, places = panels(2)
    _confusion(places[0], judgement.argmax.confusion, "argmax")
    if judgement.chosen is None:
        places[1].axis("off")
    else:
        _confusion(places[1], judgement.chosen.confusion, "operating point")
    return svg(figure)


def _confusion(place: Any, found: Confusion, title: str) -> None:
    matrix = np.array([[found.true_negative, found.false_positive], [found.false_negative, found.true_positive]])
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    place.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(2, 2):
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"  # noqa: PLR2004 - half way to dark
        place.text(column, row, f"{matrix[row, column]:,}\n{share:.1%}", ha="center", va="center", color=colour)
    place.set(xticks=[0, 1], xticklabels=["normal", "pneumonia"], yticks=[0, 1], yticklabels=["normal", "pneumonia"])
    place.set(xlabel="called", ylabel="is", title=title)


def ranking(named: Sequence[tuple[str, Judgement]]) -> bytes:
    """Draw ROC and precision-recall curves, one colour a contender, one line a fold, a mark at each threshold."""
    figure, (roc, precision) = panels(2, height=4.6)
    for number, (name, judgement) in enumerate(named):
        colour = f"C{number}"
        auc = judgement.argmax.metrics["auc"].value
        for fold, scored in enumerate(judgement.argmax.scored):
            false, true, right = operating_curve(scored)
            strength = 1.0 if len(judgement.argmax.scored) == 1 else _FAINT
            words = f"{name} ({auc:.3f})" if fold == 0 and auc is not None else None
            roc.plot(false, true, colour, alpha=strength, label=words, lw=1.3)
            precision.plot(true, right, colour, alpha=strength, lw=1.3)
        for view, mark in ((judgement.argmax, "o"), (judgement.chosen, "^")):
            _mark(roc, precision, view, colour, mark)
    roc.plot([0, 1], [0, 1], "0.8", zorder=0)
    roc.set(xlabel="1 - specificity", ylabel="recall")
    precision.set(xlabel="recall", ylabel="precision")
    roc.legend(frameon=False, title="AUC; circle: argmax, triangle: operating point", fontsize=8, title_fontsize=8)
    return svg(figure)


def _mark(roc: Any, precision: Any, view: View | None, colour: str, mark: str) -> None:
    if view is None:
        return
    recall, specificity, right = (view.metrics[name].value for name in ("sensitivity", "specificity", "precision"))
    if recall is not None and specificity is not None:
        roc.plot(1 - specificity, recall, colour, marker=mark)
    if recall is not None and right is not None:
        precision.plot(recall, right, colour, marker=mark)


def calibration(judgement: Judgement) -> bytes:
    """Draw frequency against probability in 15 bins, all folds together, and how the probabilities lie."""
    figure, (left, right) = panels(2)
    left.plot([0, 1], [0, 1], "0.8", zorder=0)
    for view, colour, words in ((judgement.argmax, "C0", "network's output"), (judgement.chosen, "C1", "calibrated")):
        if view is None:
            continue
        probabilities = np.concatenate([part.probabilities for part in view.scored])
        ill = np.concatenate([part.labels for part in view.scored]) == 1
        mean, frequency = reliability(ill, probabilities)
        left.plot(mean, frequency, colour, marker="o", ms=4, label=words)
        right.stairs(
            np.bincount(bins_of(probabilities), minlength=ECE_BINS), np.linspace(0, 1, ECE_BINS + 1), color=colour
        )
    left.set(xlabel="probability", ylabel="frequency of pneumonia")
    left.legend(frameon=False)
    right.set(xlabel="probability", ylabel="images")
    return svg(figure)
