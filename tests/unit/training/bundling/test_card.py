from __future__ import annotations

import numpy as np
import pytest

from bundle.manifest import Manifest, Noticed
from tests.factories.bundles import starter
from training.bundling.card import model_card
from training.bundling.card_figures import FIGURES, draw
from training.datasets.dataset import Item
from training.datasets.items import Traits
from training.examination.examine import examine
from training.examination.metrics import Scored

RNG = np.random.default_rng(3)
LABELS = np.array([0, 1] * 100)
SCORES = np.clip(RNG.normal(0.25 + 0.5 * LABELS, 0.2), 0.001, 0.999)
SCORED = Scored(LABELS, SCORES, SCORES, np.arange(200))
ITEMS = tuple(
    Item(
        f"{n}", f"{n}", ("NORMAL", "PNEUMONIA")[n % 2], None, f"p{n}", None, Traits(sex="FM"[n % 4 // 2], device="a|b")
    )
    for n in range(200)
)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    shipped = starter().manifest
    found = examine(ITEMS, None, SCORED, shipped.operating_point.threshold)
    return shipped.model_copy(
        update={
            "metrics": {"test": found.metrics},
            "predictive_values": {"test": found.predictive_values},
            "subgroups": {"test": found.subgroups},
            "data": shipped.data.model_copy(update={"images": {"test": {"NORMAL": 100, "PNEUMONIA": 100}}}),
            "files": {**shipped.files, **dict.fromkeys(FIGURES, "0" * 64)},
        }
    )


def test_every_figure_is_the_manifests(manifest: Manifest) -> None:
    card = model_card(manifest)
    for title, name in (("log-loss", "log_loss"), ("calibration slope", "calibration_slope"), ("AUC", "auc")):
        found = manifest.metrics["test"][name]
        assert f"| {title} | {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) |" in card
    (five, *_) = manifest.predictive_values["test"]
    assert f"| 5% | test | {five.ppv.value:.3f} (" in card
    # 50 patients of each class
    assert "| sex: F | 100 | 50 | 50 | 100 |" in card
    assert "device: a\\|b" in card
    called = int((SCORES[LABELS == 0] >= manifest.operating_point.threshold).sum())
    assert f"{called} of 100 normals were SUSPECTED" in card
    for name in FIGURES:
        assert f"]({name})" in card


def test_how_few_pictures_a_class_is_parts_of_is_told() -> None:
    shipped = starter().manifest
    assert shipped.familiarity is not None
    noticed = {
        "photographs": Noticed(n=60, unfamiliar=60, sources=1),
        "scans": Noticed(n=60, unfamiliar=60, sources=11),
        "noise": Noticed(n=60, unfamiliar=60),
    }
    found = shipped.familiarity.model_copy(update={"noticed": noticed})
    card = model_card(shipped.model_copy(update={"familiarity": found}))
    assert "| photographs (parts of 1 picture) | 60 |" in card
    assert "| scans (parts of 11 pictures) | 60 |" in card
    assert "| noise | 60 |" in card


def test_a_bundle_of_before_has_a_card_all_the_same() -> None:
    nothing: dict[str, object] = {"predictive_values": {}, "subgroups": {}, "familiarity": None}
    card = model_card(starter().manifest.model_copy(update={**nothing, "files": {}}))
    assert "prevalence | patients" not in card
    assert "## Subgroups" not in card
    assert ".svg)" not in card
    assert "not defined" not in card


def test_who_chose_the_epoch_is_told_as_it_was(manifest: Manifest) -> None:
    chosen = manifest.model_copy(update={"training": {"epoch_chosen": 7}})
    assert "`watch` chose the epoch" in model_card(chosen)
    card = model_card(manifest.model_copy(update={"training": {"epochs_done": 120}}))
    assert "`watch` was looked at after each epoch and chose none" in card


def test_the_drawn_figures_are_whole_and_the_same_each_time(manifest: Manifest) -> None:
    drawn = draw(SCORED, manifest.operating_point, manifest.uncertainty)
    assert set(drawn) == set(FIGURES)
    for content in drawn.values():
        assert content.startswith(b"<?xml")
        assert content.rstrip().endswith(b"</svg>")
        assert len(content) < 100_000
    assert drawn == draw(SCORED, manifest.operating_point, manifest.uncertainty)
