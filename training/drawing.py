"""What every plot is drawn with: matplotlib's `Figure`, which needs no screen and keeps no state, written as SVG."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.errors import FitFailed
from training.examination.metrics import Scored
from training.examination.reliability import ECE_BINS, bins_of

Floats = NDArray[np.float64]

_PANEL_WIDTH: Final = 5.0
_HEIGHT: Final = 3.6
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_NAMED_PART: Final = re.compile(r'<g id="[^"]*">')


def require_matplotlib() -> None:
    """Say what is missing before hours are spent.

    Raises
    ------
    FitFailed
        If matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - only those who train need it
    except ModuleNotFoundError as error:
        raise FitFailed(
            "plots need matplotlib: pip install --require-hashes -r requirements/train.txt brings it"
        ) from error


def panels(count: int, height: float = _HEIGHT) -> tuple[Any, Any]:
    """Return a figure and its panels, side by side."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only those who train need it

    figure = Figure(figsize=(count * _PANEL_WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, count)


def svg(figure: Any) -> bytes:
    """Return a figure as SVG, without the date and with names that are not drawn: equal figures give equal bytes."""
    from matplotlib import rc_context  # noqa: PLC0415 - only those who train need it

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "lungwatch"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def inline_svg(figure: Any, words: str) -> str:
    """Return a figure as SVG to stand within a page, in the page's own colour where it was drawn in black.

    Its text stays text. Names of single parts are left out: a page may hold many
    figures, and a name may occur once. Those left are digests of what they name.

    Parameters
    ----------
    words : str
        What it shows, for those who cannot see it.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - only those who train need it

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "lungwatch", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :]).replace("#000000", "currentColor")
    return _NAMED_PART.sub("<g>", text).replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1).strip()


def operating_curve(scored: Scored) -> tuple[Floats, Floats, Floats]:
    """Return false-positive rate, recall and precision at every threshold, from the strictest on."""
    order = np.argsort(-scored.scores, kind="stable")
    ill = scored.labels[order] == 1
    # equal scores are called together
    last = np.append(np.diff(scored.scores[order]) != 0, True)
    true, called = np.cumsum(ill)[last], np.flatnonzero(last) + 1
    false = called - true
    recall = true / max(int(ill.sum()), 1)
    rate = false / max(int((~ill).sum()), 1)
    return np.insert(rate, 0, 0.0), np.insert(recall, 0, 0.0), np.insert(true / called, 0, 1.0)


def reliability(ill: NDArray[np.bool_], probabilities: Floats) -> tuple[Floats, Floats]:
    """Return mean probability and frequency of pneumonia in each of 15 bins that holds any image."""
    bins = bins_of(probabilities)
    content = np.bincount(bins, minlength=ECE_BINS)
    filled = content > 0
    mean = np.bincount(bins, probabilities, ECE_BINS)[filled] / content[filled]
    return mean, np.bincount(bins, ill, ECE_BINS)[filled] / content[filled]
