from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread, uid

from cli.demo import studies
from cli.demo.sending import Sending
from cli.demo.studies import SCENARIOS, phantom_sendings
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from db.vocabulary import ReceiptState


@pytest.fixture(scope="module")
def sendings(tmp_path_factory: pytest.TempPathFactory) -> list[Sending]:
    folder = tmp_path_factory.mktemp("sent")
    # the same scenarios with small pictures
    small = [replace(one, drawn=replace(one.drawn, size=(240, 300))) for one in SCENARIOS]
    with phantom_sendings(folder, "seed", small) as made:
        return list(made)


def by_title(sendings: list[Sending], words: str) -> Sending:
    (found,) = [one for one in sendings if words in one.title]
    return found


def test_the_day_holds_everything_the_demo_promises(sendings: list[Sending]) -> None:
    assert len({one.study_uid for one in sendings}) >= 10
    assert {one.transfer_syntax_uid for one in sendings} >= {
        uid.ExplicitVRLittleEndian,
        uid.JPEGLosslessSV1,
        uid.JPEG2000Lossless,
        uid.RLELossless,
    }
    assert {one.transfer_syntax_uid for one in sendings} <= set(SUPPORTED_TRANSFER_SYNTAXES)
    expected = [state for one in sendings for state in one.expected]
    assert set(expected) == set(ReceiptState) - {ReceiptState.PENDING}
    inverted = [dcmread(one.path).PhotometricInterpretation for one in sendings]
    assert set(inverted) == {"MONOCHROME1", "MONOCHROME2"}


def test_files_say_what_the_plan_says(sendings: list[Sending]) -> None:
    for one in sendings:
        dataset = dcmread(one.path)
        assert dataset.StudyInstanceUID == one.study_uid
        assert dataset.SOPInstanceUID == one.sop_instance_uid
        assert dataset.SOPClassUID == one.sop_class_uid
        assert dataset.file_meta.TransferSyntaxUID == one.transfer_syntax_uid
        assert str(dataset.PatientName) == "Phantom^Thorax"
        assert one.thumbnail is not None


def test_what_comes_again_is_the_same_bytes_other_header_or_other_pixels(sendings: list[Sending]) -> None:
    first, twice = sendings[0], by_title(sendings, "sent twice")
    assert twice.path.read_bytes() == first.path.read_bytes()
    for words in ("header corrected", "other pixels"):
        again = by_title(sendings, words)
        (before,) = [one for one in sendings if one.sop_instance_uid == again.sop_instance_uid and not one.again]
        assert again.path.read_bytes() != before.path.read_bytes()
        assert sendings.index(before) < sendings.index(again)
    assert [one.again for one in sendings] == sorted(one.again for one in sendings)


def test_equal_seeds_give_equal_studies_and_others_do_not(tmp_path: Path) -> None:
    small = [replace(SCENARIOS[0], drawn=replace(SCENARIOS[0].drawn, size=(120, 150)))]
    contents = []
    for name, seed in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        with phantom_sendings(tmp_path / name, seed, small) as made:
            contents.append(next(made).path.read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert dcmread(BytesIO(contents[0])).StudyInstanceUID != dcmread(BytesIO(contents[2])).StudyInstanceUID


def test_a_failure_while_computing_reaches_the_caller_and_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no picture")

    monkeypatch.setattr(studies, "radiograph", fail)
    with phantom_sendings(tmp_path, "seed") as made, pytest.raises(RuntimeError, match="no picture"):
        next(made)
