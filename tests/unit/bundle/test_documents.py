"""What documents say of the starter is about the starter that ships."""

from __future__ import annotations

from pathlib import Path

from bundle.manifest import LITERT
from tests.factories.bundles import starter
from training.bundling.card import model_card

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_phantoms_were_scored_with_the_starter() -> None:
    # else: python -m tests.tools.score_phantoms
    manifest = starter().manifest
    (line,) = (line for line in (DOCS / "phantoms.md").read_text().splitlines() if line.startswith("Model: "))
    assert line.startswith(f"Model: {manifest.title}, network `{manifest.files[LITERT][:12]}` ")


def test_the_starters_card_says_what_its_manifest_says() -> None:
    assert (starter().directory / "MODEL_CARD.md").read_text() == model_card(starter().manifest)
