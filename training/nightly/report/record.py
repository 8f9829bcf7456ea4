"""The report as data: what `--json` prints of a night."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from training.nightly.report.measured import Measures
from training.nightly.report.night import Disagreement, Model, Night
from training.nightly.report.summary import headline, reasons, warnings


def json_text(night: Night, test: Measures | None, recent: Measures | None) -> str:
    """Return the report as JSON; what is no number is null."""
    content = {
        "night": night.night.isoformat(),
        "state": night.state,
        "kind": night.kind,
        "headline": headline(night),
        "reasons": reasons(night),
        "warnings": warnings(night, test, recent),
        "started_at": night.started_at.isoformat(),
        "finished_at": night.finished_at and night.finished_at.isoformat(),
        "steps": [asdict(taken) for taken in night.steps],
        "settings": dict(night.settings),
        "snapshot": night.material and asdict(night.material),
        "labels": night.labels and asdict(night.labels),
        "models": [_model(model, test, recent) for model in night.models],
        "test": test and _pictures(test),
        "recent": recent and _pictures(recent),
        "decision": night.decision and night.decision.model_dump(mode="json", exclude_none=True),
        "drift": night.drift and asdict(night.drift),
        "epochs": [asdict(epoch) for epoch in night.epochs],
        "disagreements": [_disagreement(one) for one in night.disagreements],
    }
    return json.dumps(_numbers(content), indent=1, allow_nan=False) + "\n"


def _model(model: Model, test: Measures | None, recent: Measures | None) -> dict[str, Any]:
    return asdict(model) | {
        name: _measured(model, measures) for name, measures in (("test", test), ("recent", recent)) if measures
    }


def _measured(model: Model, measures: Measures) -> dict[str, Any] | None:
    found = measures.models.get(model.role)
    if found is None:
        return None
    return {
        "metrics": {name: interval.model_dump() for name, interval in found.figures.items()},
        "confusion": {"PNEUMONIA": asdict(found.ill), "NORMAL": asdict(found.well)},
        "problem": found.problem,
    }


def _pictures(measures: Measures) -> dict[str, Any]:
    return {
        "images": measures.images,
        "patients": measures.patients,
        "ill_images": measures.ill_images,
        "ill_patients": measures.ill_patients,
        "subgroups": {
            name: {
                "ill_images": group.ill,
                "well_images": group.well,
                "few": group.few,
                "metrics": {
                    role: {figure: interval.model_dump() for figure, interval in figures.items()}
                    for role, figures in group.figures.items()
                },
                "gain": {figure: interval.model_dump() for figure, interval in group.gains.items()},
            }
            for name, group in measures.groups.items()
        },
    }


def _disagreement(one: Disagreement) -> dict[str, Any]:
    scores = {role: float(score) for role, score in one.scores.items()}
    return {"number": int(one.number), "label": one.label, "examined_on": one.examined_on, "scores": scores}


def _numbers(value: Any) -> Any:
    """Return the same with null for what is no finite number, which JSON cannot say."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(part) for part in value]
    return value
