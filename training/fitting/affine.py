"""The affine matrix that turns, scales and moves an image around its middle, as Pillow wants it."""

from __future__ import annotations


def around_middle(
    size: int, across: tuple[float, float], down: tuple[float, float], shift: tuple[float, float]
) -> tuple[float, float, float, float, float, float]:
    """Return what `PIL.Image.Image.transform` takes with ``Transform.AFFINE``.

    The order of the additions is part of what a fit depends on: in another order the last bits are others.

    Parameters
    ----------
    size : int
        Side of the square image, pixels.
    across, down : tuple of float
        The matrix's two rows: where in the source a step to the right and a step down lead.
    shift : tuple of float
        Where in the source the middle comes from, pixels to the right and down of its middle.
    """
    centre = (size - 1) / 2
    (a, b), (d, e) = across, down
    return (
        a, b, centre + shift[0] - a * centre - b * centre,
        d, e, centre + shift[1] - d * centre - e * centre,
    )  # fmt: skip
