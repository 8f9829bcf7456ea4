from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from training.pages import document, drawing, photograph, table, thumbnail


def test_a_page_may_load_and_run_nothing() -> None:
    text = document("a <title>", ["<p>one</p>", "<p>two</p>"], "p { margin: 0; }")
    assert "<title>a &lt;title&gt;</title>" in text
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert text.index("<p>one</p>") < text.index("<p>two</p>")


def test_cells_are_escaped_and_those_of_numbers_marked() -> None:
    text = table(("name", "<n>"), [("<a>", 1)], caption="<of>")
    assert '<td>&lt;a&gt;</td><td class="n">1</td>' in text
    assert "<caption>&lt;of&gt;</caption>" in text
    assert "&lt;n&gt;</th>" in text
    assert table(("a", "b", "c"), [(1, 2, 3)], words=2).count('class="n"') == 2


def test_a_photograph_is_what_was_given_within_the_page() -> None:
    text = photograph(np.full((20, 30), 200, np.uint8), '"quoted"')
    assert text.startswith('<img alt="&quot;quoted&quot;" src="data:image/jpeg;base64,')
    encoded = re.findall(r"base64,([^\"]+)", text)[0]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        assert (image.size, image.getpixel((3, 3))) == ((30, 20), 200)


def test_a_drawing_is_what_was_given() -> None:
    assert drawing(b"<svg/>", "words") == '<img alt="words" src="data:image/svg+xml;base64,PHN2Zy8+">'


def test_a_thumbnail_keeps_its_aspect_and_is_never_enlarged() -> None:
    master = np.full((512, 256), 0x80FF, np.uint16)
    assert thumbnail(master, 128).shape == (128, 64)
    assert int(thumbnail(master, 128)[0, 0]) == 0x80
    assert thumbnail(master[:10, :10], 128).shape == (10, 10)
