"""The public originals, and a stand-in of generated ones, through the real thing.

Wrapped as 12-bit DX objects in six transfer syntaxes and sent with dcmtk's
`storescu`: every one terminal, reconcile clean, outcomes those of `lungwatch
predict`. On SQLite without a broker, on PostgreSQL with Redis, and through an
Orthanc that forwards by the rule in deploy/orthanc/. Of the originals the usual
run takes four of each syntax, on SQLite; `make originals` takes all of them everywhere.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli.demo.own_data import find
from imaging.phantom.radiograph import radiograph
from tests.servers import HOST, Server, free_port
from tests.shared_data import shared_data
from tests.system.serving import ROOT, Serving, command, send
from tests.tools.wrap_originals import Wrapped, wrap
from tests.waiting import wait_until

pytestmark = [pytest.mark.requires("storescu"), pytest.mark.timeout(900)]
STAND_INS = 12
FOUR_OF_EACH_SYNTAX = 24
EVERY_ORIGINAL = pytest.param("originals", marks=pytest.mark.originals)


@dataclass(frozen=True)
class Collection:
    """Wrapped objects, and what `lungwatch predict` says of the pictures and of the objects."""

    folder: Path
    objects: list[Wrapped]
    of_pictures: dict[str, dict[str, Any]]
    of_objects: dict[str, dict[str, Any]]


def generated(folder: Path) -> Path:
    folder.mkdir()
    for number in range(STAND_INS):
        picture = radiograph("opacity" if number % 2 else "clear", seed=number, size=(600, 700))
        Image.fromarray((picture >> 4).astype("uint8")).save(folder / f"generated-{number:02d}.png")
    return folder


def unpacked(folder: Path, most: int = 1_000_000) -> Path:
    """The pictures of the public collection, or some spread evenly over it."""
    folder.mkdir()
    for picture in find([shared_data("chest_xray_fullres_sample.zip")], most):
        (folder / Path(picture.name).name).write_bytes(picture.read())
    return folder


def predicted(files: list[Path], folder: Path) -> list[dict[str, Any]]:
    done = command("predict", *map(str, files), "--json", data=folder / "unused", cwd=folder, seconds=600)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.fixture(scope="module", params=["stand-in", EVERY_ORIGINAL])
def collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("collection")
    return collected((unpacked if request.param == "originals" else generated)(folder / "pictures"), folder)


def collected(source: Path, folder: Path) -> Collection:
    objects = list(wrap(source, folder / "wrapped"))
    pictures = sorted(path for path in source.rglob("*") if path.is_file())
    of_pictures = predicted(pictures, folder)
    of_objects = predicted([folder / "wrapped" / one.file for one in objects], folder)
    return Collection(
        folder / "wrapped",
        objects,
        {Path(row["file"]).name: row for row in of_pictures},
        {one.study_uid: row for one, row in zip(objects, of_objects, strict=True)},
    )


def storescu(collection: Collection, port: int, called: str) -> None:
    """Send each folder in one association, as the wrapper's index says."""
    for option, objects in groupby(
        sorted(collection.objects, key=lambda one: one.storescu), key=lambda one: one.storescu
    ):
        files = [str(collection.folder / one.file) for one in objects]
        done = subprocess.run(
            ["storescu", option, "-aet", "TESTPACS", "-aec", called, HOST, str(port), *files],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr


def accounted_for(serving: Serving, collection: Collection) -> None:
    expected = len(collection.objects)
    status = serving.settled(expected, 600)
    assert status["receipts"]["CLASSIFIED"] == expected
    reconciled = serving.run("reconcile", "--digests", seconds=120)
    assert reconciled.returncode == 0, reconciled.stdout
    rows = {row["study_uid"]: row for row in serving.json("results", "--limit", "0")}
    assert set(rows) == {one.study_uid for one in collection.objects}
    for one in collection.objects:
        row, of_object = rows[one.study_uid], collection.of_objects[one.study_uid]
        assert row["outcome"] == of_object["outcome"]
        assert row["probability"] == pytest.approx(of_object["probability"], abs=1e-6)
        of_picture = collection.of_pictures[Path(one.picture).name]
        assert row["outcome"] == of_picture["outcome"], one.picture


def test_on_sqlite_without_a_broker(collection: Collection, tmp_path: Path) -> None:
    with Serving(tmp_path / "data") as serving:
        storescu(collection, serving.port, "LUNGWATCH")
        accounted_for(serving, collection)
        assert serving.stop() == 0


def test_some_originals_on_sqlite(tmp_path: Path) -> None:
    some = collected(unpacked(tmp_path / "pictures", FOUR_OF_EACH_SYNTAX), tmp_path)
    assert len(some.objects) == FOUR_OF_EACH_SYNTAX
    test_on_sqlite_without_a_broker(some, tmp_path)


@pytest.mark.requires("redis-server", "postgres")
def test_on_postgresql_with_redis(collection: Collection, tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    settings = {"database_url": postgres_url, "broker_url": redis_url}
    data = tmp_path / "data"
    assert command("serve", data=data, settings=settings).returncode == 2, "an empty ledger is not ours to make here"
    assert command("db", "upgrade", data=data, settings=settings).returncode == 0
    with Serving(data, "--workers", "2", **settings) as serving:
        storescu(collection, serving.port, "LUNGWATCH")
        accounted_for(serving, collection)
        assert serving.stop() == 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def orthanc(tmp_path: Path) -> Server:
    """The test PACS of the compose file: its own configuration and rule, on ports and folders of this test."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    port = free_port()
    return Server("Orthanc", folder, ["Orthanc", str(folder / "orthanc.json")], port, f"dicom://{HOST}:{port}")


@pytest.mark.requires("Orthanc")
def test_from_an_orthanc_that_forwards(collection: Collection, data: Path, orthanc: Server) -> None:
    configuration = json.loads((ROOT / "deploy" / "orthanc" / "orthanc.json").read_text())
    with Serving(data) as serving:
        configuration |= {
            "DicomPort": orthanc.port,
            "HttpPort": free_port(),
            "StorageDirectory": str(orthanc.folder / "storage"),
            "IndexDirectory": str(orthanc.folder / "storage"),
            "LuaScripts": [str(ROOT / "deploy" / "orthanc" / "forward.lua")],
            "DicomModalities": {"lungwatch": ["LUNGWATCH", HOST, serving.port]},
        }
        (orthanc.folder / "orthanc.json").write_text(json.dumps(configuration))
        orthanc.start()
        try:
            storescu(collection, orthanc.port, "ORTHANC")
            accounted_for(serving, collection)
            (story,) = serving.json("trace", collection.objects[0].study_uid)
            assert story["receipts"][0]["peer"] == "ORTHANC"
        finally:
            orthanc.stop()
        assert serving.stop() == 0


# pynetdicom's requestor forgets to close its socket when the listener dies under it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_worker_registrar_and_listener_killed_in_the_middle(collection: Collection, data: Path) -> None:
    total = len(collection.objects)
    files = [collection.folder / one.file for one in collection.objects]
    with Serving(data) as serving, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, serving.port, files)
        for share, victim in ((0.2, ("work", "--beat")), (0.4, ("registrar",)), (0.6, ("server",))):
            wait_until(lambda share=share: serving.receipts() >= share * total, 300, "some are registered")  # type: ignore[misc]
            serving.kill_child(*victim)
        assert set(sending.result(600)) == {0}
        serving.nothing_missing_nothing_twice(total, 600)
        outcomes = {row["study_uid"]: row["outcome"] for row in serving.json("results", "--limit", "0")}
        assert outcomes == {uid: row["outcome"] for uid, row in collection.of_objects.items()}
        assert serving.stop() == 0


def test_the_wrapper_uses_every_syntax(collection: Collection) -> None:
    assert len({one.transfer_syntax_uid for one in collection.objects}) == 6
