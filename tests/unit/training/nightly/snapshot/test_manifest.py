from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from core.errors import TransientFailure
from db.vocabulary import ImageClass, LabelOrigin, Share, Side
from tests.factories.rows import digest
from training.datasets.items import Traits
from training.errors import DatasetError
from training.nightly.snapshot.manifest import LeftOut, Manifest, Picture, Reason, Said, path_of, read, write

PICTURE = Picture(
    labelled_image_id=7,
    master_digest=digest("master"),
    patient_digest=digest("patient")[:16],
    side=Side.HELD_OUT,
    share=Share.SEALED,
    label=ImageClass.PNEUMONIA,
    label_version=2,
    subgroup="bacterial",
    origin=LabelOrigin.IMPORTED,
    traits=Traits(sex="F", age_days=0, view="AP", device="Ä-Ray"),
    now=Said(ImageClass.NORMAL, 3, "other_abnormal"),
    size=(3000, 2000),
)
BARE = Picture(
    labelled_image_id=8,
    master_digest=digest("other"),
    patient_digest=digest("else")[:16],
    side=Side.FIT,
    share=None,
    label=ImageClass.NORMAL,
    label_version=1,
    subgroup=None,
    origin=LabelOrigin.VERDICT,
    traits=Traits(),
    now=None,
)


def test_everything_comes_back(tmp_path: Path) -> None:
    manifest = Manifest("", digest("test set"), (PICTURE, BARE), (BARE,), (LeftOut(9, Reason.TWIN),))
    written = write(tmp_path, manifest)
    assert read(tmp_path, written.digest) == written
    assert hashlib.sha256(path_of(tmp_path, written.digest).read_bytes()).hexdigest() == written.digest
    assert written.counts()["SEALED"] == {"NORMAL": 0, "PNEUMONIA": 1}
    assert written.counts()["FIT"] == {"NORMAL": 1, "PNEUMONIA": 0}
    assert written.counts()["HELD_OUT"] == {"NORMAL": 0, "PNEUMONIA": 0}


def test_any_difference_is_another_snapshot(tmp_path: Path) -> None:
    found = {
        write(tmp_path, manifest).digest
        for manifest in (
            Manifest("", None, ()),
            Manifest("", digest("test set"), ()),
            Manifest("", None, (BARE,)),
            Manifest("", None, (), (BARE,)),
            Manifest("", None, (), (), (LeftOut(8, Reason.TWIN),)),
            Manifest("", None, (), (), (LeftOut(8, Reason.DROPPED),)),
        )
    }
    assert len(found) == 6


def test_what_a_killed_process_left_goes_when_nobody_can_be_writing_it(tmp_path: Path) -> None:
    written = write(tmp_path, Manifest("", None, ()))
    folder = path_of(tmp_path, written.digest).parent
    old, new = folder / ".old.tmp", folder / ".new.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    write(tmp_path, Manifest("", None, ()))
    assert sorted(path.name for path in folder.iterdir()) == [".new.tmp", f"{written.digest}.jsonl"]


def test_one_of_a_newer_release_and_a_full_disk_are_said(tmp_path: Path) -> None:
    content = b'{"format":2}\n'
    digest_of_it = hashlib.sha256(content).hexdigest()
    path = path_of(tmp_path, digest_of_it)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="newer release"):
        read(tmp_path, digest_of_it)
    (tmp_path / "file").touch()
    with pytest.raises(TransientFailure, match="cannot be written"):
        write(tmp_path / "file", Manifest("", None, ()))
