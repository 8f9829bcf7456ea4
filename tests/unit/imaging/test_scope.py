from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset, uid

from core.identity import MANUFACTURER_MODEL, SERIES_DESCRIPTION_PREFIX
from core.settings import OutsideIntendedUse, Settings
from imaging.elements import quiet
from imaging.phantom_objects import Modality, Patient
from imaging.reasons import Annotation, ScopeReason
from imaging.scope import ScopeDecision, ScopeRules, decide_scope
from tests.factories import dicom_objects as objects

AGES = (365.0, 6 * 365.25)
IN_SCOPE = ScopeDecision(None, ())


def rules(**changes: Any) -> ScopeRules:
    return ScopeRules.from_settings(Settings(**changes), AGES)


def plain(**plan: Any) -> Dataset:
    """In scope without a remark: AP chest of a child of three, nothing burnt in."""
    with quiet():  # for pydicom warns of values that no standard allows
        dataset = objects.phantom(**({"coded": False} | plan))
    dataset.BurnedInAnnotation = "NO"
    return dataset


def decide(dataset: Dataset, **changes: Any) -> ScopeDecision:
    return decide_scope(dataset, rules(**changes))


def code(value: str, scheme: str = "SCT", meaning: str = "something") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def test_a_frontal_chest_of_a_small_child_is_in_scope() -> None:
    assert decide(plain()) == IN_SCOPE
    assert decide(plain(modality=Modality.CR)) == IN_SCOPE
    assert decide(plain(coded=True)) == IN_SCOPE


def test_objects_that_are_no_images() -> None:
    assert decide(objects.structured_report()).reason is ScopeReason.NOT_AN_IMAGE
    key_object = plain()
    key_object.SOPClassUID = uid.KeyObjectSelectionDocumentStorage
    del key_object.Rows
    assert decide(key_object).reason is ScopeReason.NOT_AN_IMAGE


def test_an_image_without_its_pixel_module_is_still_an_image() -> None:
    broken = plain()
    del broken.Rows
    assert decide(broken).reason is None


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("ManufacturerModelName", MANUFACTURER_MODEL), ("SeriesDescription", f"{SERIES_DESCRIPTION_PREFIX}: heatmap")],
)
def test_our_own_results_are_known(keyword: str, value: str) -> None:
    dataset = plain()
    setattr(dataset, keyword, value)
    assert decide(dataset).reason is ScopeReason.OWN_RESULT


@pytest.mark.parametrize("modality", ["CT", "MG", "OT", "RG", ""])
def test_other_modalities(modality: str) -> None:
    dataset = plain()
    dataset.Modality = modality
    assert decide(dataset).reason is ScopeReason.MODALITY


def test_modalities_are_configured() -> None:
    dataset = plain()
    dataset.Modality = "RG"
    assert decide(dataset, modalities=("rg",)).reason is None


def test_raw_images() -> None:
    assert decide(objects.for_processing()).reason is ScopeReason.FOR_PROCESSING
    dataset = plain()
    dataset.PresentationIntentType = "FOR PROCESSING"
    assert decide(dataset).reason is ScopeReason.FOR_PROCESSING


def test_frames_and_colour() -> None:
    assert decide(objects.multi_frame()).reason is ScopeReason.MULTI_FRAME
    assert decide(objects.colour()).reason is ScopeReason.COLOUR
    palette = plain()
    palette.PhotometricInterpretation = "PALETTE COLOR"
    assert decide(palette).reason is ScopeReason.COLOUR


@pytest.mark.parametrize("body_part", ["CHEST", "chest ", "THORAX", "LUNG", "CHEST_PA", "CHEST-PA"])
def test_chests_by_body_part(body_part: str) -> None:
    assert decide(plain(body_part=body_part)) == IN_SCOPE


@pytest.mark.parametrize("body_part", ["HAND", "ABDOMEN", "CHESTNUT", "PELVIS"])
def test_other_body_parts_whatever_descriptions_say(body_part: str) -> None:
    dataset = plain(body_part=body_part)
    dataset.StudyDescription = "Chest and hand"
    assert decide(dataset).reason is ScopeReason.BODY_PART


@pytest.mark.parametrize(
    "region",
    [code("51185008"), code("816094009"), code("T-D3000", "SRT"), code("T-28000", "SNM3"), code("1", "99X", "Thorax")],
)
def test_chests_by_region_code(region: Dataset) -> None:
    dataset = plain(body_part=None)
    dataset.AnatomicRegionSequence = [region]
    assert decide(dataset) == IN_SCOPE


def test_another_region_code() -> None:
    dataset = plain(body_part=None)
    dataset.AnatomicRegionSequence = [code("85562004", meaning="Hand")]
    dataset.StudyDescription = "Chest"
    assert decide(dataset).reason is ScopeReason.BODY_PART


@pytest.mark.parametrize(("body_part", "region"), [("HAND", code("816094009")), ("CHEST", code("85562004"))])
def test_a_header_that_contradicts_itself_is_marked(body_part: str, region: Dataset) -> None:
    dataset = plain(body_part=body_part)
    dataset.AnatomicRegionSequence = [region]
    assert decide(dataset) == ScopeDecision(None, (Annotation.CONTRADICTING_BODY_PART,))


@pytest.mark.parametrize("keyword", ["SeriesDescription", "ProtocolName", "StudyDescription"])
def test_a_silent_body_part_is_looked_for_in_descriptions(keyword: str) -> None:
    dataset = plain(body_part=None)
    assert decide(dataset).reason is ScopeReason.BODY_PART
    setattr(dataset, keyword, "Portable chest, bed 3")
    assert decide(dataset) == ScopeDecision(None, (Annotation.UNKNOWN_BODY_PART,))


@pytest.mark.parametrize("view", ["LL", "RL", "LLO", "LAT", "LATERAL", "XCCL", "AP LATERAL"])
def test_other_views(view: str) -> None:
    assert decide(plain(view=view)).reason is ScopeReason.VIEW


@pytest.mark.parametrize("view", ["AP", "ap", "AP SUPINE", "ANTERO-POSTERIOR"])
def test_antero_posterior(view: str) -> None:
    assert decide(plain(view=view)) == IN_SCOPE


def test_postero_anterior_is_marked() -> None:
    assert decide(plain(view="PA")) == ScopeDecision(None, (Annotation.VIEW_PA,))


@pytest.mark.parametrize("view", [None, "", "UNKNOWN", "FRONTAL"])
def test_a_silent_view_is_marked(view: str | None) -> None:
    assert decide(plain(view=view)) == ScopeDecision(None, (Annotation.UNKNOWN_VIEW,))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (code("399348003"), IN_SCOPE),
        (code("R-10214", "SRT"), ScopeDecision(None, (Annotation.VIEW_PA,))),
        (code("399173006", meaning="left lateral"), ScopeDecision(ScopeReason.VIEW)),
        (code("x1", "99HOSPITAL", "Chest AP"), IN_SCOPE),
    ],
)
def test_views_by_code(item: Dataset, expected: ScopeDecision) -> None:
    dataset = plain(view=None)
    dataset.ViewCodeSequence = [item]
    assert decide(dataset) == expected


def test_laterals_by_circumstance() -> None:
    described = plain(view=None)
    described.SeriesDescription = "Thorax lat."
    assert decide(described).reason is ScopeReason.VIEW
    oriented = plain(view=None)
    oriented.PatientOrientation = ["A", "F"]
    assert decide(oriented).reason is ScopeReason.VIEW
    both = plain(view=None)
    both.SeriesDescription = "Chest AP + lateral"
    assert decide(both).annotations == (Annotation.UNKNOWN_VIEW,)


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        ("001Y", None),
        ("012M", None),
        ("005Y", None),
        ("071M", None),
        ("011M", ScopeReason.AGE),
        ("006Y", ScopeReason.AGE),
        ("072M", ScopeReason.AGE),
        ("064Y", ScopeReason.AGE),
        ("003D", ScopeReason.AGE),
    ],
)
def test_ages_from_one_to_five(age: str, reason: ScopeReason | None) -> None:
    assert decide(plain(patient=Patient(age=age))).reason is reason


def test_ages_outside_are_marked_where_the_site_says_so() -> None:
    adult = plain(patient=Patient(age="064Y"))
    assert decide(adult).annotations == (Annotation.OUTSIDE_INTENDED_USE_AGE,)
    annotated = decide(adult, outside_intended_use=OutsideIntendedUse.ANNOTATE)
    assert annotated == ScopeDecision(None, (Annotation.OUTSIDE_INTENDED_USE_AGE,))


def test_an_unknown_age_is_marked() -> None:
    assert decide(plain(patient=Patient(age=None))) == ScopeDecision(None, (Annotation.UNKNOWN_AGE,))


def test_burnt_in_letters_are_marked() -> None:
    dataset = plain()
    dataset.BurnedInAnnotation = "YES"
    assert decide(dataset).annotations == (Annotation.BURNED_IN_ANNOTATION,)


def test_the_first_rule_broken_gives_the_reason() -> None:
    dataset = plain(view="LL", body_part="HAND", patient=Patient(age="064Y"))
    assert decide(dataset).reason is ScopeReason.BODY_PART
    dataset.Modality = "MG"
    assert decide(dataset).reason is ScopeReason.MODALITY
    dataset.ManufacturerModelName = MANUFACTURER_MODEL
    assert decide(dataset).reason is ScopeReason.OWN_RESULT
