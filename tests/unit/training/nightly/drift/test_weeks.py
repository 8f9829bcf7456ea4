from __future__ import annotations

from dataclasses import replace

import pytest

from db.consensus import Finding
from db.drift import ImageSeen, StudyRead
from db.vocabulary import Outcome
from training.nightly.drift.result import OF_MODEL, Name
from training.nightly.drift.sizes import Sample
from training.nightly.drift.weeks import Collector, age_group

MODEL, OTHER = 1, 2
IMAGE = ImageSeen(
    study_id=1,
    patient="P",
    outcome=Outcome.NOT_SUSPECTED,
    reason=None,
    manufacturer=" ACME ",
    view="AP",
    sex="F",
    age_days=800,
    master_digest="a" * 64,
    peer="PACS",
    model_version_id=MODEL,
    score=0.3,
    unfamiliarity=1.0,
    unfamiliarity_threshold=2.0,
)


def gathered(*seen: ImageSeen) -> dict[Name, Sample]:
    collector = Collector(MODEL)
    collector.images(seen)
    collector.flags(frozenset({1}))
    return collector.samples()


def values(found: dict[Name, Sample], name: Name) -> list[object]:
    return list(found[name].values.tolist()) if name in found else []


def test_an_image_in_scope_is_counted_everywhere() -> None:
    found = gathered(IMAGE)
    assert {name: values(found, name) for name in found} == {
        Name.SCOPE: ["in scope"],
        Name.NO_RESULT: [False],
        Name.DEVICE: ["ACME"],
        Name.CALLING_AE: ["PACS"],
        Name.VIEW: ["AP"],
        Name.SEX: ["F"],
        Name.AGE: ["1 to 4"],
        Name.SCORE: [0.3],
        Name.SCORE_DISTANCE: [0.3],
        Name.UNFAMILIAR: [False],
        Name.UNFAMILIARITY: [1.0],
        Name.FLAGGED: [True],
    }


def test_what_is_out_of_scope_counts_by_its_reason_alone_and_what_is_pending_not_at_all() -> None:
    out = replace(IMAGE, outcome=Outcome.OUT_OF_SCOPE, reason="VIEW", model_version_id=None)
    found = gathered(out, replace(IMAGE, outcome=Outcome.PENDING, model_version_id=None))
    assert {name: values(found, name) for name in found} == {Name.SCOPE: ["VIEW"]}


def test_what_a_header_does_not_say_is_a_category_of_its_own() -> None:
    bare = replace(IMAGE, manufacturer=None, view=None, sex=None, age_days=None, peer=None)
    found = gathered(bare)
    for name in (Name.DEVICE, Name.VIEW, Name.SEX, Name.AGE, Name.CALLING_AE):
        assert values(found, name) == ["(not said)"]


@pytest.mark.parametrize(("reason", "failed"), [("NOT_FINITE", True), ("TRUNCATED", True), ("UNFAMILIAR", False)])
def test_no_result_counts_unless_it_is_for_being_unfamiliar(reason: str, failed: bool) -> None:
    found = gathered(replace(IMAGE, outcome=Outcome.NO_RESULT, reason=reason))
    assert values(found, Name.NO_RESULT) == [failed]


def test_a_score_that_is_no_number_is_left_out_and_unfamiliarity_that_is_none_counts_as_unlike() -> None:
    found = gathered(replace(IMAGE, score=None, unfamiliarity=None))
    assert (values(found, Name.SCORE), values(found, Name.UNFAMILIARITY)) == ([], [])
    assert values(found, Name.UNFAMILIAR) == [True]
    measures_none = gathered(replace(IMAGE, unfamiliarity=None, unfamiliarity_threshold=None))
    assert values(measures_none, Name.UNFAMILIAR) == []
    assert values(gathered(replace(IMAGE, unfamiliarity=2.0)), Name.UNFAMILIAR) == [True]


def test_answers_of_another_model_count_nowhere_nor_do_studies_of_both() -> None:
    found = gathered(replace(IMAGE, model_version_id=OTHER))
    assert OF_MODEL.isdisjoint(found)
    assert values(found, Name.DEVICE) == ["ACME"]
    both = gathered(IMAGE, replace(IMAGE, model_version_id=OTHER))
    assert values(both, Name.SCORE) == [0.3]
    assert values(both, Name.FLAGGED) == []


def test_images_of_a_patient_share_a_number() -> None:
    found = gathered(IMAGE, IMAGE, replace(IMAGE, patient="Q", study_id=2))
    assert found[Name.DEVICE].patients.tolist() == [0, 0, 1]
    assert values(found, Name.FLAGGED) == [True, False]


@pytest.mark.parametrize(
    ("outcome", "blind", "finding", "name", "agrees"),
    [
        (Outcome.SUSPECTED, False, Finding.PNEUMONIA, Name.CONFIRMED, True),
        (Outcome.SUSPECTED, True, Finding.NO_PNEUMONIA, Name.CONFIRMED_BLIND, False),
        (Outcome.NOT_SUSPECTED, False, Finding.NO_PNEUMONIA, Name.CLEARED, True),
        (Outcome.NOT_SUSPECTED, True, Finding.PNEUMONIA, Name.CLEARED_BLIND, False),
    ],
)
def test_readings_count_by_the_outcome_and_by_who_saw_it(
    outcome: Outcome, blind: bool, finding: Finding, name: Name, agrees: bool
) -> None:
    collector = Collector(MODEL)
    collector.images([IMAGE, replace(IMAGE, study_id=2, model_version_id=OTHER)])
    one = StudyRead(1, "P", blind=blind, outcome=outcome, finding=finding)
    # another model's, unanswered ones, and one of a study that had no image in scope
    collector.readings([one, replace(one, study_id=2), replace(one, study_id=3)])
    collector.readings(replace(one, finding=other) for other in (Finding.DISPUTED, Finding.UNUSABLE))
    collector.readings([replace(one, outcome=Outcome.NO_RESULT)])
    read = {key: values(collector.samples(), key) for key in collector.samples() if key.startswith(("conf", "clea"))}
    assert read == {name: [agrees]}


@pytest.mark.parametrize(
    ("days", "group"),
    [
        (None, "(not said)"),
        (0, "under 1"),
        (364, "under 1"),
        (366, "1 to 4"),
        (1827, "5 to 11"),
        (40000, "65 and more"),
    ],
)
def test_ages_are_counted_in_groups(days: int | None, group: str) -> None:
    assert age_group(days) == group
