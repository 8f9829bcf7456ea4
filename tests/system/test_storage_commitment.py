"""Orthanc as the one that sends, asks for storage commitment and hears the report (Debian's, its REST API)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories import dicom_objects as objects
from tests.servers import HOST, Server, accepts, free_port
from tests.system.serving import Serving
from tests.waiting import wait_until

pytestmark = [pytest.mark.requires("Orthanc"), pytest.mark.timeout(300)]


class Orthanc:
    """A PACS of the test's own, driven over REST."""

    def __init__(self, folder: Path, listener_port: int, dicom_port: int) -> None:
        folder.mkdir()
        self.http_port = free_port()
        configuration = {
            "Name": "ORTHANC",
            "DicomAet": "ORTHANC",
            "DicomPort": dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomModalities": {"lungwatch": ["LUNGWATCH", HOST, listener_port]},
            "DicomAlwaysAllowStore": False,
        }
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        self.server = Server("Orthanc", folder, ["Orthanc", str(path)], dicom_port, f"dicom://{HOST}:{dicom_port}")

    def start(self) -> None:
        # it opens its DICOM port before its HTTP port
        self.server.start()
        wait_until(lambda: accepts(self.http_port), 60, "Orthanc answers HTTP")

    def ask(self, path: str, content: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://{HOST}:{self.http_port}/{path}", content)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from None

    def post(self, path: str, content: Any) -> Any:
        return self.ask(path, json.dumps(content).encode())

    def outcome(self, transaction: str) -> dict[str, Any]:
        def decided() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ask(f"storage-commitment/{transaction}")
            return None if found["Status"] == "Pending" else found

        return wait_until(decided, 60, "Orthanc heard the report")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def serving(tmp_path: Path, port: int) -> Iterator[Serving]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "peers.toml").write_text(
        f'unknown = "refuse"\n[[peer]]\nae_title = "ORTHANC"\naddresses = ["{HOST}"]\nreport_to = "{HOST}:{port}"\n'
    )
    with Serving(data) as serving:
        yield serving


@pytest.fixture
def orthanc(tmp_path: Path, port: int, serving: Serving) -> Iterator[Orthanc]:
    orthanc = Orthanc(tmp_path / "orthanc", serving.port, port)
    orthanc.start()
    yield orthanc
    orthanc.server.stop()


def test_orthanc_stores_and_is_told(orthanc: Orthanc, serving: Serving) -> None:
    sent = [objects.phantom(), objects.lateral(), objects.structured_report()]
    ids = [orthanc.ask("instances", objects.part10(one))["ID"] for one in sent]
    job = orthanc.post("modalities/lungwatch/store", {"Resources": ids, "StorageCommitment": True})
    outcome = orthanc.outcome(job["StorageCommitmentTransactionUID"])
    assert (outcome["Status"], outcome["Failures"]) == ("Success", [])
    assert {one["SOPInstanceUID"] for one in outcome["Success"]} == {str(one.SOPInstanceUID) for one in sent}
    # and again, for what it never sent
    broken = objects.broken_code_stream()
    broken_id = orthanc.ask("instances", objects.part10(broken))["ID"]
    orthanc.post("modalities/lungwatch/store", {"Resources": [broken_id]})
    unsent = objects.phantom()
    asked = [[str(one.SOPClassUID), str(one.SOPInstanceUID)] for one in (sent[0], broken, unsent)]
    transaction = orthanc.post("modalities/lungwatch/storage-commitment", {"DicomInstances": asked})["ID"]
    outcome = orthanc.outcome(transaction)
    assert outcome["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in outcome["Success"]] == [asked[0][1]]
    assert {one["SOPInstanceUID"]: one["FailureReason"] for one in outcome["Failures"]} == {
        asked[1][1]: 0x0110,
        asked[2][1]: 0x0112,
    }
    reconciled = serving.run("reconcile")
    assert reconciled.returncode == 0, reconciled.stdout
    assert serving.stop() == 0
