from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import pixel_array

from cli.demo.own_data import SYNTAXES, find, own_sendings
from core.errors import Misconfigured, RejectedInput
from db.vocabulary import TERMINAL
from tests.factories import dicom_objects as factory


def picture(value: int = 100, form: str = "JPEG") -> bytes:
    stream = BytesIO()
    Image.fromarray(np.full((40, 50), value, np.uint8)).save(stream, form)
    return stream.getvalue()


def test_folders_zips_and_files_are_found_and_thinned_evenly(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for label in ("NORMAL", "PNEUMONIA"):
        (folder / label).mkdir(parents=True)
        for number in range(10):
            (folder / label / f"{number}.jpeg").write_bytes(picture(number))
    (folder / ".DS_Store").write_bytes(b"x")
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(folder.rglob("*.jpeg")):
            opened.write(file, str(file.relative_to(folder)))
        opened.writestr("__MACOSX/NORMAL/._0.jpeg", b"x")

    for path in (folder, archive):
        assert len(find([path], 100)) == 20
        thinned = find([path], 4)
        assert [source.name.split("/")[0] for source in thinned] == ["NORMAL"] * 2 + ["PNEUMONIA"] * 2
    single = find([folder / "NORMAL" / "3.jpeg"], 5)
    assert [source.name for source in single] == ["3.jpeg"]
    assert single[0].read() == picture(3)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no file or folder"):
        find([tmp_path / "nowhere"], 5)
    with pytest.raises(Misconfigured, match="nothing found"):
        find([tmp_path], 5)


def test_pictures_are_wrapped_with_age_unknown_in_several_lossless_syntaxes(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for number in range(len(SYNTAXES)):
        (source / f"{number}.png").write_bytes(picture(40 * number, "PNG"))
    made = list(own_sendings(find([source], 99), out, "seed"))
    assert [one.transfer_syntax_uid for one in made] == list(SYNTAXES)
    for number, one in enumerate(made):
        dataset = dcmread(one.path)
        assert "PatientAge" not in dataset
        assert dataset.BitsStored == 12
        assert one.expected == TERMINAL
        assert one.title == f"{number}.png"
    assert pixel_array(dcmread(made[0].path)).max() == 0


def test_dicom_files_go_out_as_they_are(tmp_path: Path) -> None:
    path = factory.write(tmp_path, factory.lateral(seed="x"), "image-without-suffix")
    (made,) = own_sendings(find([path], 1), tmp_path, "seed")
    assert made.path.read_bytes() == path.read_bytes()
    dataset = dcmread(path)
    assert (made.sop_instance_uid, made.study_uid) == (dataset.SOPInstanceUID, dataset.StudyInstanceUID)


@pytest.mark.parametrize(("name", "content"), [("notes.txt", b"words"), ("cut.jpeg", b"\xff\xd8\xff"), ("a.png", b"")])
def test_what_cannot_be_sent_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RejectedInput, match=name):
        list(own_sendings(find([path], 1), tmp_path, "seed"))
