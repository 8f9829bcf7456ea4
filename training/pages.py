"""What every HTML page is put together from. A page needs nothing from elsewhere and runs no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY: Final = 80
# for pages that are read on a screen of either kind
STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: .8rem; }
figure { margin: 0; }
figcaption, .note { font-size: .85rem; opacity: .85; }
summary { cursor: pointer; } code { font-size: .85em; overflow-wrap: anywhere; }
"""


def document(title: str, parts: Iterable[str], style: str) -> str:
    """Return a page of parts that are HTML already.

    Parameters
    ----------
    title : str
        Plain text.
    style : str
        CSS.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # whatever found its way into a page, it could neither run nor call home
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1, caption: str = "") -> str:
    """Return a table of plain text; all columns but the first `words` hold numbers."""

    def kind(place: int) -> str:
        return ' class="n"' if place >= words else ""

    head = "".join(f'<th scope="col"{kind(place)}>{escape(column)}</th>' for place, column in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(place)}>{escape(str(cell))}</td>" for place, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{named}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def photograph(pixels: NDArray[np.uint8], words: str) -> str:
    """Return pixels as a JPEG within the page; `words` are for those who cannot see it."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=_QUALITY)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="{escape(words)}" src="data:image/jpeg;base64,{encoded}">'


def drawing(svg: bytes, words: str) -> str:
    """Return an SVG file as a picture within the page."""
    return f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'


def thumbnail(master: NDArray[np.uint16], side: int) -> NDArray[np.uint8]:
    """Return a master as 8-bit grey whose longest side is at most `side` pixels."""
    grey = Image.fromarray((master >> 8).astype(np.uint8))
    grey.thumbnail((side, side))
    return np.asarray(grey)
