"""Small charts as SVG text, for a page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

# told apart also without colours: the second is dashed
COLOURS: Final = ("#1b6ca8", "#c0504d")
_DASHES: Final = ("", ' stroke-dasharray="5 3"')
_WIDTH: Final = 360
_HEIGHT: Final = 150
_LEFT: Final = 8
_TOP: Final = 8
_BOTTOM: Final = 22
_BINS: Final = 40


def histogram(title: str, values: Mapping[str, Sequence[float]]) -> str:
    """Draw how a measure is distributed in each group, each scaled to its own size.

    Parameters
    ----------
    values : mapping of str to sequence of float
        At most two groups; empty ones are left out.
    """
    filled = {name: np.asarray(some, float) for name, some in values.items() if len(some)}
    if not filled:
        return ""
    low = min(float(some.min()) for some in filled.values())
    high = max(float(some.max()) for some in filled.values())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    # an absent group keeps its place, so that the other keeps its colour
    shares = {name: np.histogram(some, edges)[0] / max(len(some), 1) for name, some in values.items()}
    return steps(title, shares, low, high)


def steps(title: str, shares: Mapping[str, NDArray[np.float64]], low: float, high: float) -> str:
    """Draw a step line for each group.

    Parameters
    ----------
    shares : mapping of str to ndarray of float64, shape (bins,)
        Share of the group in each bin; the bins are equally wide from `low` to `high`.
    """
    top = max((float(share.max()) for share in shares.values()), default=0.0) or 1.0
    inside = _HEIGHT - _TOP - _BOTTOM
    lines = []
    for place, (name, share) in enumerate(shares.items()):
        width = (_WIDTH - 2 * _LEFT) / len(share)
        points = []
        for number, value in enumerate(share):
            y = _TOP + inside * (1 - float(value) / top)
            points += [f"{_LEFT + number * width:.1f},{y:.1f}", f"{_LEFT + (number + 1) * width:.1f},{y:.1f}"]
        colour, dash = COLOURS[place % len(COLOURS)], _DASHES[place % len(_DASHES)]
        lines.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.6"{dash} points="{" ".join(points)}">'
            f"<title>{escape(name)}</title></polyline>"
        )
    base = _HEIGHT - _BOTTOM
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _LEFT}" y2="{base}" stroke="currentColor" opacity="0.4"/>'
        f"{''.join(lines)}"
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{_short(low)}</text>'
        f'<text x="{_WIDTH - _LEFT}" y="{_HEIGHT - 6}" text-anchor="end">{_short(high)}</text></svg>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def bars(title: str, counts: Mapping[int, int]) -> str:
    """Draw how often each whole number occurs, the logarithm of its count as the height."""
    if not counts:
        return ""
    numbers = sorted(counts)
    top = float(np.log1p(max(counts.values())))
    width = (_WIDTH - 2 * _LEFT) / (numbers[-1] - numbers[0] + 1)
    inside = _HEIGHT - _TOP - _BOTTOM
    drawn = []
    for number in numbers:
        height = inside * float(np.log1p(counts[number])) / top
        x = _LEFT + (number - numbers[0]) * width
        drawn.append(
            f'<rect x="{x + 0.5:.1f}" y="{_HEIGHT - _BOTTOM - height:.1f}" width="{max(width - 1, 1):.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[0]}"><title>{number}: {counts[number]}</title></rect>'
        )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(drawn)}'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{numbers[0]}</text>'
        f'<text x="{_WIDTH - _LEFT}" y="{_HEIGHT - 6}" text-anchor="end">{numbers[-1]}</text></svg>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _short(value: float) -> str:
    return f"{value:.4g}"
