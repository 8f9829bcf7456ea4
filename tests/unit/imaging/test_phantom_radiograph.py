from __future__ import annotations

import hashlib

import numpy as np
import pytest

from imaging.phantom.canvas import Canvas, octaves, smooth
from imaging.phantom.radiograph import View, radiograph

SIZE = (500, 600)


@pytest.mark.parametrize("view", list(View))
def test_equal_seeds_give_equal_pixels(view: View) -> None:
    first, second = radiograph(view, 7, SIZE), radiograph(view, 7, SIZE)
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


@pytest.mark.parametrize("view", list(View))
def test_another_seed_is_another_picture(view: View) -> None:
    assert not np.array_equal(radiograph(view, 7, SIZE), radiograph(view, 8, SIZE))


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("size", [(500, 600), (641, 480)])
def test_pictures_have_the_size_asked_for_and_use_twelve_bits(view: View, size: tuple[int, int]) -> None:
    picture = radiograph(view, 1, size)
    assert picture.dtype == np.uint16
    assert picture.shape == size
    assert picture.max() < 4096
    assert np.percentile(picture, 99.5) > 2000, "bone is bright"
    assert np.percentile(picture, 5) < 600, "air around the body is dark"


def test_full_size_has_the_texture_of_a_detector() -> None:
    picture = radiograph(View.CLEAR, 1, (2000, 2400)).astype(np.float32)
    lung = picture[900:1000, 500:600]
    # neighbouring pixels differ by noise, not by nothing and not by everything
    assert 5 < np.abs(np.diff(lung, axis=1)).mean() < 200


def test_lungs_are_darker_than_heart_and_an_opacity_brightens_a_lung() -> None:
    clear = radiograph(View.CLEAR, 3, SIZE).astype(float)
    heart, lung = clear[330:360, 330:360].mean(), clear[250:330, 140:200].mean()
    assert lung < 0.75 * heart
    # the same child but for the order of draws; compare the lungs' dark share instead of pixels
    dark = [np.mean(radiograph(view, 3, SIZE)[120:380, 100:500] < 1600) for view in (View.CLEAR, View.OPACITY)]
    assert dark[1] < dark[0]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not a valid View"):
        radiograph("skull", 1)


def test_a_shape_beyond_the_border_is_harmless() -> None:
    canvas = Canvas(40, 50, (0.5, 0.5), 20.0)
    assert canvas.ellipse((10.0, -10.0), (0.5, 0.5), 0.05).whole().max() == 0
    assert canvas.ellipse((0.0, 0.0), (0.5, 0.5), 0.01).whole()[20, 25] == pytest.approx(1.0)


def test_a_turned_body_keeps_pixels_and_grid_together() -> None:
    canvas = Canvas(60, 80, (0.4, 0.6), 15.0, turn=0.3)
    x, y = canvas.grid()
    column, row = canvas.pixel((0.7, -0.5))
    assert x[round(row), round(column)] == pytest.approx(0.7, abs=0.05)
    assert y[round(row), round(column)] == pytest.approx(-0.5, abs=0.05)


def test_a_smooth_line_passes_through_its_points() -> None:
    points = [(0.0, 0.0), (1.0, 2.0), (3.0, 1.0)]
    path = smooth(points, closed=False)
    assert all(any(np.allclose(point, on, atol=1e-9) for on in path) for point in points)


def test_octaves_have_the_deviation_asked_for() -> None:
    texture = octaves(np.random.default_rng(0), 400, 400, ((2, 1.0), (8, 1.0)))
    assert texture.mean() == pytest.approx(0, abs=0.1)
    assert texture.std() == pytest.approx(np.sqrt(2), rel=0.25)
