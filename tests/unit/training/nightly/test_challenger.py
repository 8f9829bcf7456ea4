from __future__ import annotations

from bundle.manifest import IntendedUse
from db.models.model import ModelVersion
from training.nightly.challenger import inherited_use

ADULTS = IntendedUse(
    purpose="Marks chest radiographs of adults.",
    population="Adults of one ward.",
    age_days=(6575, 40000),
    views=("PA", "AP"),
    classes="Pneumonia against none.",
    limits=("It knows no other finding.", "Judged on one ward."),
)


def test_a_challenger_is_for_whom_its_champion_was() -> None:
    use = inherited_use(ModelVersion(manifest={"intended_use": ADULTS.model_dump(mode="json")}))
    assert (use.purpose, use.age_days, use.views, use.classes) == (
        ADULTS.purpose,
        ADULTS.age_days,
        ADULTS.views,
        ADULTS.classes,
    )
    # on whom it was trained is another matter
    assert use.population.startswith("Patients of the site that trained it")
    assert use.limits[:2] == ADULTS.limits
    assert use.limits[2].startswith("Trained and judged at one site")
    # and its own challengers say no more
    assert inherited_use(ModelVersion(manifest={"intended_use": use.model_dump(mode="json")})) == use
