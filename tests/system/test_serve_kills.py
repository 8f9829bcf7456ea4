"""``kill -9`` of each process in the middle of a run: nothing missing, nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import uid

from tests.factories.dicom_objects import phantom, write
from tests.system.serving import Serving, send
from tests.waiting import wait_until

# pynetdicom's requestor forgets to close its socket when the listener dies under it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STUDIES = 24
SYNTAXES = (uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.RLELossless, uid.JPEG2000Lossless)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write(
            tmp_path,
            phantom(f"kill-{number}", syntax=SYNTAXES[number % len(SYNTAXES)], accession_number=f"K{number}"),
            f"{number}.dcm",
        )
        for number in range(STUDIES)
    ]


@pytest.mark.parametrize(
    "victim",
    [("work", "--beat"), ("server",), ("registrar",)],
    ids=["worker", "listener", "registrar"],
)
def test_rows_01_02_a_process_killed_in_the_middle(data: Path, files: list[Path], victim: tuple[str, ...]) -> None:
    with Serving(data) as serving, ThreadPoolExecutor(1) as pool:
        port = serving.port
        sending = pool.submit(send, port, files)
        for share in (0.2, 0.6):
            wait_until(lambda share=share: serving.receipts() >= share * STUDIES, 60, "some are registered")  # type: ignore[misc]
            killed = serving.kill_child(*victim)
            wait_until(
                lambda killed=killed: (now := serving.find(*victim)) and now.pid != killed,  # type: ignore[misc]
                30,
                "it was started again",
            )
        assert set(sending.result(120)) == {0}
        assert serving.port == port
        serving.nothing_missing_nothing_twice(STUDIES)
        assert serving.stop() == 0


def test_rows_01_02_everything_killed_at_once_and_started_again(data: Path, files: list[Path]) -> None:
    with Serving(data) as serving:
        assert set(send(serving.port, files)) == {0}
        serving.kill()
        serving.start()
        serving.nothing_missing_nothing_twice(STUDIES)


def test_what_was_received_without_a_registrar_is_registered_later(data: Path, files: list[Path]) -> None:
    with Serving(data) as serving, ThreadPoolExecutor(1) as pool:
        registrar = wait_until(lambda: serving.find("registrar"), 30, "the registrar")
        registrar.suspend()
        assert set(pool.submit(send, serving.port, files).result(60)) == {0}
        assert serving.receipts() == 0
        registrar.resume()
        serving.nothing_missing_nothing_twice(STUDIES)


def test_reconcile_names_a_file_that_was_removed_by_hand(data: Path, files: list[Path]) -> None:
    with Serving(data) as serving:
        assert set(send(serving.port, files[:3])) == {0}
        serving.settled(3, 60)
        victim = next((data / "stored").rglob("*.dcm"))
        victim.unlink()
        found = serving.json("reconcile")
        assert not found["clean"]
        assert [(one["misfit"], one["name"]) for one in found["findings"]] == [("MISSING", victim.stem)]
        plain = serving.run("reconcile")
        assert plain.returncode == 1
        assert f"MISSING {victim.stem}" in plain.stdout


def test_reconcile_names_a_file_removed_from_the_spool_before_it_was_registered(data: Path, files: list[Path]) -> None:
    with Serving(data) as serving:
        assert send(serving.port, files[:1]) == [0]
        serving.settled(1, 60)
        registrar = wait_until(lambda: serving.find("registrar"), 30, "the registrar")
        registrar.suspend()
        assert set(send(serving.port, files[1:3])) == {0}
        new = sorted((data / "spool" / "listener" / "new").iterdir())
        assert len(new) == 2
        new[0].unlink()
        registrar.resume()
        serving.settled(2, 60)
        (finding,) = serving.json("reconcile")["findings"]
        assert finding["misfit"] == "GAP"
