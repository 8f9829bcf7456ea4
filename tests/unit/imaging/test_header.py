from __future__ import annotations

from datetime import date

import pytest

from core.errors import RejectedInput
from imaging.elements import quiet
from imaging.header import age_days, attributes, has_unknown_character_set, read_header
from imaging.reading import Attributes
from imaging.reasons import Rejection
from tests.factories import dicom_objects as objects


def read(content: bytes, *, keep: bool = False) -> Attributes:
    return attributes(read_header(content), "AP", keep_patient_name=keep)


def test_attributes_are_what_the_header_says() -> None:
    dataset = objects.phantom("attributes")
    found = read(objects.part10(dataset), keep=True)
    assert found.study_uid == dataset.StudyInstanceUID
    assert found.sop_instance_uid == dataset.SOPInstanceUID
    assert found.sop_class_uid == dataset.SOPClassUID
    assert found.series_uid == dataset.SeriesInstanceUID
    assert found.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert (found.accession_number, found.patient_id) == ("PHANTOM-A1", "PHANTOM-1")
    assert found.patient_name == "Phantom^Thorax"
    assert found.study_date == date(2024, 1, 2)
    assert (found.modality, found.body_part, found.view, found.patient_sex) == ("DX", "CHEST", "AP", "O")
    assert found.patient_age_days == 1096
    assert (found.rows, found.columns) == (96, 128)


@pytest.mark.parametrize(("vr", "value"), [("FD", 1e30), ("DS", "1e300"), ("IS", "2147483648"), ("UV", 2**63)])
def test_a_number_no_ledger_can_hold_is_a_bad_header(vr: str, value: object) -> None:
    dataset = objects.structured_report("huge")
    with quiet():
        dataset.add_new(0x00280010, vr, value)
        content = objects.part10(dataset)
    with pytest.raises(RejectedInput) as caught:
        read(content)
    assert caught.value.reason == Rejection.BAD_HEADER


def test_the_name_stays_out_unless_it_is_asked_for() -> None:
    assert read(objects.part10(objects.phantom())).patient_name is None


def test_nul_and_control_characters_are_removed() -> None:
    found = read(objects.part10(objects.with_nul_in_text()))
    assert found.patient_id == "PHANTOM"
    assert found.accession_number == "AB"


def test_text_is_cut_to_its_column() -> None:
    dataset = objects.phantom()
    with quiet():
        dataset.add_new("PatientID", "LO", "x" * 1000)
    assert read(objects.part10(dataset)).patient_id == "x" * 64


@pytest.mark.parametrize("uid", ["1.2/../../a", "../../../../etc/x", "", "1..2", "1"])
def test_bad_uids_are_refused_without_being_quoted(uid: str) -> None:
    with pytest.raises(RejectedInput) as caught:
        read(objects.bad_uid_file(uid))
    assert caught.value.reason == Rejection.BAD_UID
    assert not uid or f" {uid} " not in f" {caught.value} "


def test_a_uid_with_leading_zeros_that_the_listener_acknowledges_is_kept() -> None:
    assert read(objects.bad_uid_file("1.2.03")).sop_instance_uid == "1.2.03"


def test_an_unknown_character_set_is_noticed_and_not_fatal() -> None:
    content = objects.unknown_character_set_file()
    header = read_header(content)
    assert has_unknown_character_set(header.dataset)
    assert attributes(header, None, keep_patient_name=True).patient_name is not None
    assert not has_unknown_character_set(read_header(objects.part10(objects.phantom())).dataset)


def test_japanese_and_extensions_are_decoded() -> None:
    dataset = objects.phantom()
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    content = objects.part10(dataset)
    assert read(content, keep=True).patient_name == "Yamada^Tarou=山田^太郎"
    assert not has_unknown_character_set(read_header(content).dataset)


@pytest.mark.parametrize(
    ("age", "birth", "study", "days"),
    [
        ("003Y", "20000101", "20240101", 1096),
        ("", "20200101", "20240101", 1461),
        ("000Y", "20200101", "20240101", 1461),
        ("000D", "", "20240101", 0),
        ("rubbish", "20200101", "20240101", 1461),
        ("", "20240102", "20240101", None),
        ("", "", "20240101", None),
        ("", "20200101", "", None),
    ],
)
def test_age_comes_from_patient_age_else_from_dates(age: str, birth: str, study: str, days: int | None) -> None:
    dataset = objects.phantom()
    for keyword in ("AcquisitionDate", "ContentDate", "SeriesDate"):
        del dataset[keyword]
    with quiet():  # for pydicom warns of what we plant
        dataset.add_new("PatientAge", "AS", age)
    dataset.PatientBirthDate, dataset.StudyDate = birth, study
    assert age_days(read_header(objects.part10(dataset)).dataset) == days


def test_no_pixel_data_are_held() -> None:
    header = read_header(objects.part10(objects.phantom()))
    assert "PixelData" not in header.dataset
    assert header.pixels is not None
