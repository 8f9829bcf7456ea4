from __future__ import annotations

import re

from training.drawing import inline_svg, panels


def drawn(words: str = "a line") -> str:
    figure, place = panels(1)
    place.plot([0, 1], [0, 1], "#d55e00", label="rising")
    place.legend()
    return inline_svg(figure, words)


def test_black_is_the_colour_of_the_page_and_other_colours_stay() -> None:
    text = drawn()
    assert "#000000" not in text
    assert "currentColor" in text
    assert "#d55e00" in text


def test_text_stays_text_and_only_what_is_referred_to_has_a_name() -> None:
    text = drawn()
    assert ">rising</text>" in text
    names, references = re.findall(r' id="([^"]+)"', text), re.findall(r'(?:href="|url\()#([^")]+)', text)
    assert set(names) == set(references)
    assert len(names) == len(set(names))


def test_it_can_stand_in_a_page() -> None:
    text = drawn('less < "more"')
    assert text.startswith('<svg role="img" aria-label="less &lt; &quot;more&quot;"')
    assert text.endswith("</svg>")
    assert "matplotlib.org" not in text
    assert "<?xml" not in text


def test_equal_figures_give_equal_text() -> None:
    assert drawn() == drawn()
