"""How an image is framed, in a few groups: the shortcut to sample against, and to leave out when choosing a model."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

STYLES: Final = 6
_SIDE: Final = 28
# of 28 places a side: the outer tenth or so
_RING: Final = 3
_COMPONENTS: Final = 12
_STARTS: Final = 8
_STEPS: Final = 100
_DRAWS_AT_MOST: Final = 4.0
_CAPPING: Final = 20


def frames(squares: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return what each image's outer tenth looks like.

    Parameters
    ----------
    squares : ndarray of uint16, shape (n, side, side)

    Returns
    -------
    ndarray of float64, shape (n, places)
        Mean grey over small patches of the ring, on the image's own scale (mean 0, standard deviation 1).
    """
    edges = np.linspace(0, squares.shape[1], _SIDE + 1).astype(int)
    inside = np.zeros((_SIDE, _SIDE), bool)
    inside[_RING:-_RING, _RING:-_RING] = True
    rows = np.empty((len(squares), int((~inside).sum())))
    for number, square in enumerate(squares):
        sums = np.add.reduceat(np.add.reduceat(square.astype(np.float64), edges[:-1], 0), edges[:-1], 1)
        grey = sums / np.outer(np.diff(edges), np.diff(edges))
        rows[number] = ((grey - grey.mean()) / max(grey.std(), 1.0))[~inside]
    return rows


def styles(rows: NDArray[np.float64], count: int = STYLES, seed: int = 0) -> NDArray[np.int64]:
    """Group images by frame: k-means (k-means++ starts) on the principal components.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, places)
        See `frames`.

    Returns
    -------
    ndarray of int64, shape (n,)
        0 to `count` - 1, fewer where there are fewer images; 0 is the largest group.
    """
    centred = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:_COMPONENTS].T
    rng = np.random.default_rng(seed)
    best: tuple[float, NDArray[np.int64]] = (np.inf, np.zeros(len(rows), np.int64))
    for _ in range(_STARTS):
        spread, groups = _means(points, min(count, len(points)), rng)
        if spread < best[0]:
            best = (spread, groups)
    # by size, so that the numbers mean something to a reader
    sizes = np.bincount(best[1], minlength=count)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return rank[best[1]]


def _means(points: NDArray[np.float64], count: int, rng: np.random.Generator) -> tuple[float, NDArray[np.int64]]:
    middles = points[[int(rng.integers(len(points)))]]
    while len(middles) < count:
        nearest = _distances(points, middles).min(axis=1)
        share = nearest / nearest.sum() if nearest.sum() > 0 else None
        middles = np.vstack([middles, points[int(rng.choice(len(points), p=share))]])
    groups = np.zeros(len(points), np.int64)
    for _ in range(_STEPS):
        fresh = _distances(points, middles).argmin(axis=1)
        if (fresh == groups).all():
            break
        groups = fresh
        for group in range(count):
            if (groups == group).any():
                middles[group] = points[groups == group].mean(axis=0)
    return float(_distances(points, middles).min(axis=1).sum()), groups


def _distances(points: NDArray[np.float64], middles: NDArray[np.float64]) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = ((points[:, np.newaxis] - middles[np.newaxis]) ** 2).sum(axis=2)
    return squared


def sampling(labels: NDArray[np.int64], groups: NDArray[np.int64], patients: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each image should be drawn: classes alike, and within each class every style of frame alike.

    An image of a patient with n images counts as much as 1 / sqrt(n). No image
    is drawn more than four times as often as a plain pass over the data would,
    so a style that one class hardly has stays rarer there.

    Parameters
    ----------
    labels, groups, patients : ndarray of int64, shape (n,)
        Class, style of frame (see `styles`), patient.

    Returns
    -------
    ndarray of float64, shape (n,)
        Sums to 1.
    """
    _, position, images = np.unique(patients, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(images[position].astype(np.float64))
    classes = np.unique(labels)
    for label in classes:
        of_class = labels == label
        present = np.unique(groups[of_class])
        for group in present:
            cell = of_class & (groups == group)
            weights[cell] /= weights[cell].sum() * len(present)
        share = weights[of_class] / len(classes)
        # clipping frees weight for the others, which may then need clipping as well
        most = max(_DRAWS_AT_MOST / len(labels), 1 / (len(classes) * len(share)))
        for _ in range(_CAPPING):
            share = np.minimum(share, most)
            share *= 1 / (len(classes) * share.sum())
        weights[of_class] = share
    total: float = weights.sum()
    return weights / total


def draw(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many images as there are, each as often as its weight says to within one, in random order."""
    count = len(weights)
    marks = (np.arange(count) + rng.random()) / count
    # neighbours in the data set must not share a fate: the marks run over a random order
    order = rng.permutation(count)
    ladder = np.cumsum(weights[order])
    chosen: NDArray[np.int64] = order[np.minimum(np.searchsorted(ladder / ladder[-1], marks), count - 1)]
    return rng.permutation(chosen)
