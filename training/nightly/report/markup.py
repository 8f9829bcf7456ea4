"""Small pieces of the page that several of its sections are made of."""

from __future__ import annotations

from html import escape
from typing import Final

from training.nightly.gate.decision import Standing

# the word is written, its colour is only beside it
_GOOD: Final = frozenset({"PROMOTED", "PROMOTE", "NONE", Standing.HELD.value})
_GRAVE: Final = frozenset({"FAILED", "REFUSED", "STRONG", Standing.BROKEN.value})
_MILD: Final = frozenset({"INSUFFICIENT_EVIDENCE", "NOTICE", "UNTOLD", Standing.UNTOLD.value})


def badge(word: str) -> str:
    """Return a word that says how something came out."""
    kinds = {"good": _GOOD, "mild": _MILD, "grave": _GRAVE}
    kind = "".join(f" {name}" for name, words in kinds.items() if word in words)
    return f'<span class="badge{kind}">{escape(word)}</span>'


def figure(drawn: str, words: str) -> str:
    """Return something drawn with what it shows below; both are HTML already."""
    return f"<figure>{drawn}<figcaption>{words}</figcaption></figure>"


def wide(content: str) -> str:
    """Return what may be wider than the page, and is then scrolled by itself."""
    return f'<div class="wide">{content}</div>'


def wording(name: str) -> str:
    """Return a figure's name as it is written in a sentence."""
    return "AUC" if name == "auc" else name.replace("_", "-")
