"""The naive side must work, or beating it shows nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pydicom.uid import JPEG2000Lossless

from bench import naive
from bench.systems import Lungwatch, Naive, Rows
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import PhantomObject, Uids, build, to_bytes
from tests.peers.listener import REPOSITORY

CLASSIFY = """
from sqlalchemy import create_engine
from bench import naive
naive.start()
naive._Base.metadata.create_all(naive._Process.engine)
naive.classify({path!r})
"""


def test_the_naive_side_writes_a_row_for_an_image(tmp_path: Path) -> None:
    uids = Uids("naive")
    instance = uids.new()
    picture = radiograph("clear", 1, (300, 250))
    image = PhantomObject(
        picture=picture,
        study_uid=uids.new(),
        series_uid=uids.new(),
        sop_instance_uid=instance,
        syntax=JPEG2000Lossless,
    )
    path = tmp_path / "image.dcm"
    path.write_bytes(to_bytes(build(image)))
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": "/usr/bin:/bin",
        naive.FOLDER: str(tmp_path),
        naive.MODEL: str(tmp_path / "model.keras"),
    }
    # in a process of its own: it imports TensorFlow
    script = "from bench import naive\nnaive.write_model()\n" + CLASSIFY.format(path=str(path))
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=REPOSITORY, check=True, timeout=120)
    rows = Rows(Naive(tmp_path, tmp_path / "model.keras", None))
    rows.look()
    assert list(rows.seen) == [instance]
    rows.close()


def test_a_ledger_that_has_no_tables_yet_shows_no_rows(tmp_path: Path) -> None:
    system = Lungwatch(tmp_path)
    system.ledger().parent.mkdir()
    system.ledger().touch()
    rows = Rows(system)
    rows.look()
    assert rows.seen == {}
    rows.close()
