"""The figures beside a model card: ROC curve with operating point, reliability diagram, histogram of scores, as SVG."""

from __future__ import annotations

from typing import Final

import numpy as np

from bundle.manifest import OperatingPoint, UncertaintyBand
from training.drawing import operating_curve, panels, reliability, svg
from training.examination.metrics import Scored, figures

ROC: Final = "roc.svg"
RELIABILITY: Final = "reliability.svg"
SCORES: Final = "scores.svg"
# what each shows, for those who cannot see it
FIGURES: Final = {
    ROC: "ROC curve, the operating point marked",
    RELIABILITY: "frequency of pneumonia against calibrated probability, in 15 bins",
    SCORES: "histogram of scores of normals and pneumonias, with threshold and uncertainty band",
}
_BINS: Final = 40


def draw(scored: Scored, point: OperatingPoint, band: UncertaintyBand) -> dict[str, bytes]:
    """Draw the figures of held-out images.

    Returns
    -------
    dict of str to bytes
        By the name they have in the bundle; equal scores give equal bytes.
    """
    return {ROC: _roc(scored, point), RELIABILITY: _reliability(scored), SCORES: _scores(scored, point, band)}


def _roc(scored: Scored, point: OperatingPoint) -> bytes:
    figure, place = panels(1)
    false, true, _ = operating_curve(scored)
    found = figures(scored, point.threshold)
    place.plot([0, 1], [0, 1], "0.8", zorder=0)
    place.plot(false, true, "C0", label=f"AUC {found['auc']:.3f}")
    words = f"operating point: sensitivity {found['sensitivity']:.3f}, specificity {found['specificity']:.3f}"
    place.plot(1 - found["specificity"], found["sensitivity"], "C1o", label=words)
    place.set(xlabel="1 - specificity", ylabel="sensitivity")
    place.legend(frameon=False, loc="lower right")
    return svg(figure)


def _reliability(scored: Scored) -> bytes:
    figure, place = panels(1)
    place.plot([0, 1], [0, 1], "0.8", zorder=0)
    place.plot(*reliability(scored.labels == 1, scored.probabilities), "C0o-")
    place.set(xlabel="calibrated probability", ylabel="frequency of pneumonia", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return svg(figure)


def _scores(scored: Scored, point: OperatingPoint, band: UncertaintyBand) -> bytes:
    figure, place = panels(1)
    edges = np.linspace(0, 1, _BINS + 1)
    for label, colour, words in ((0, "C0", "normal"), (1, "C1", "pneumonia")):
        content, _ = np.histogram(scored.scores[scored.labels == label], edges)
        place.stairs(content, edges, color=colour, fill=True, alpha=0.5, label=words)
    place.axvspan(band.low, band.high, color="0.9", zorder=0, label="uncertain")
    place.axvline(point.threshold, color="0.3", linestyle="--", label="threshold")
    # few lie between the heaps at either end, and those few are what matters
    place.set(xlabel="score", ylabel="images", yscale="symlog")
    figure.legend(frameon=False, loc="outside upper center", ncols=4)
    return svg(figure)
