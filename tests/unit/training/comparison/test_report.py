from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.comparison.contenders import Name, contender
from training.comparison.judging import judge
from training.comparison.protocols import Fold, Plan, Protocol
from training.comparison.record import Layer, Parameters, Point, Result
from training.comparison.report import Comparison, json_text, markdown, page
from training.comparison.runner import Fits, Order
from training.datasets.dataset import Item
from training.drawing import operating_curve
from training.examination.metrics import Scored

COUNT = 300


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    rng = np.random.default_rng(0)
    items = tuple(
        Item(f"{row}", f"{row}", ("NORMAL", "PNEUMONIA")[row % 3 > 0], None, f"p{row}", None) for row in range(COUNT)
    )
    ill = np.array([item.label == "PNEUMONIA" for item in items])
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1, COUNT) + np.where(ill, 2, -1))))
    fold = Fold("published", np.arange(100), np.arange(100, 200), np.arange(200, 300))
    found = Result(
        points=(Point(1, 0.5, 0.8, 0.6, 0.7, 2.0, 3.5), Point(2, 0.4, 0.9, 0.5, 0.8, 2.0, 3.5)),
        tuned=tuple(scores[100:200]),
        scored=tuple(scores[200:]),
        seconds=4.0,
        processor_seconds=7.0,
        preparation_seconds=3.0,
        preparation_processor_seconds=5.0,
        peak_memory=3 << 20,
        parameters=Parameters(12_930_178, 12_930_178, 0),
        layers=(Layer("Dense", "(None, 2)", 1_026),),
    )
    order = Order(Path("/somewhere/chest<xray>.zip"), Path("out"), Protocol.SEED, (Name.BASE, Name.VGG16))
    contenders = tuple(contender(name) for name in order.models)
    fits = Fits(order, Plan((fold,), ("It leaks.",), {}), items, contenders, dict.fromkeys(order.models, (found,)))
    views = [judge(items, [fold], [found], required, 20) for required in (0.5, 0.999)]
    return Comparison(fits, tuple(views), 0.5)


def test_the_json_has_every_figure_of_every_model(comparison: Comparison) -> None:
    found = json.loads(json_text(comparison))
    assert (found["protocol"], found["data"], found["notes"]) == ("seed", "chest<xray>.zip", ["It leaks."])
    base, vgg = found["models"]
    assert (base["name"], base["parameters"]["total"]) == ("base", 12_930_178)
    assert (base["training_seconds"], base["training_processor_seconds"]) == (7.0, 12.0)
    assert {
        *("accuracy", "precision", "sensitivity", "specificity", "auc", "average_precision", "brier", "ece"),
        *("balanced_accuracy", "ece_debiased", "log_loss", "calibration_slope", "calibration_intercept"),
    } == set(base["argmax"]["metrics"])
    assert set(base["operating_point"]["metrics"]["auc"]) == {"value", "low", "high"}
    assert vgg["operating_point"] is None
    assert "too few validation patients" in vgg["no_operating_point_because"]
    assert len(base["curves"][0]) == 2


def test_the_markdown_is_one_table_and_the_notebook_beside_it(comparison: Comparison) -> None:
    text = markdown(comparison)
    table = [line for line in text.splitlines() if line.startswith("|")]
    columns = table[0].count("|")
    assert all(line.count("|") == columns for line in table[:6])
    assert "| base | argmax | 12,930,178 (12,930,178) |" in text
    assert "| base | notebook | 0.918 | 0.919 | 0.991 |" in text
    assert re.search(r"\| 0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\) \|", text)


def test_the_page_needs_nothing_else_and_quotes_what_it_is_given(comparison: Comparison) -> None:
    text = page(comparison)
    assert "chest&lt;xray&gt;.zip" in text
    assert "<xray>" not in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert "<script" not in text
    # ROC and precision-recall, and for each of two models curves, confusion and calibration
    assert text.count("data:image/svg+xml;base64,") == 7
    assert page(comparison) == text


def test_the_operating_curve_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.8, 0.1])
    false, true, precision = operating_curve(Scored(np.array([1, 1, 0, 0]), scores, scores, np.arange(4)))
    assert list(false) == [0, 0, 0.5, 1]
    assert list(true) == [0, 0.5, 1, 1]
    assert list(precision) == pytest.approx([1, 1, 2 / 3, 1 / 2])


def test_divisions_stand_one_by_one_with_the_worst_below(comparison: Comparison) -> None:
    (fold,), (found,) = comparison.fits.plan.folds, comparison.fits.results[Name.BASE]
    halves = [Fold(f"style-{number}", fold.fit, fold.tune, fold.scored[number - 1 :: 2]) for number in (1, 2)]
    results = [replace(found, scored=found.scored[number::2]) for number in (0, 1)]
    fits = replace(
        comparison.fits,
        order=replace(comparison.fits.order, protocol=Protocol.STYLES),
        plan=Plan(tuple(halves), (), {}),
        contenders=comparison.fits.contenders[:1],
        results={Name.BASE: tuple(results)},
    )
    judgement = judge(fits.items, halves, results, 0.5, 20)
    several = Comparison(fits, (judgement,), 0.5)
    assert judgement.chosen is not None
    first, second = judgement.chosen.divisions
    table = [line for line in markdown(several).splitlines() if "style-" in line or "worst" in line]
    assert len(table) == 3
    assert f"| base | score from {first.thresholds[0]:.4g} | style-1 |" in table[0]
    worst = min(first.metrics["specificity"].value, second.metrics["specificity"].value)
    assert f"{worst:.3f}" in table[2]
    assert "Each division" in page(several)
    (model,) = json.loads(json_text(several))["models"]
    assert [part["name"] for part in model["operating_point"]["divisions"]] == ["style-1", "style-2"]
    # one division needs no table of divisions
    assert "Each division" not in markdown(comparison)
