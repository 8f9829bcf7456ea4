"""`serve` end to end, as a user meets it."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import psutil
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from tests.factories.dicom_objects import (
    broken_code_stream,
    hand,
    lateral,
    part10,
    phantom,
    structured_report,
    write,
)
from tests.peers.raw import Closed, Context, RawPeer
from tests.programs import require_mounts
from tests.system.serving import Serving, command, send
from tests.waiting import wait_until


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def a_days_work(folder: Path) -> list[Path]:
    """Six objects: three chests, a lateral, a hand, a report."""
    syntaxes = (uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.JPEG2000Lossless)
    files = [
        write(folder, phantom(f"chest-{number}", syntax=syntax, accession_number=f"A{number}"), f"chest-{number}.dcm")
        for number, syntax in enumerate(syntaxes)
    ]
    files.append(write(folder, lateral(seed="lateral"), "lateral.dcm"))
    files.append(write(folder, hand(seed="hand"), "hand.dcm"))
    files.append(write(folder, structured_report("report"), "report.dcm"))
    return files


def test_studies_sent_are_classified_shown_and_accounted_for(data: Path, tmp_path: Path) -> None:
    files = a_days_work(tmp_path)
    with Serving(data) as serving:
        assert send(serving.port, files) == [0] * 6
        status = serving.settled(6, 60)
        assert status["receipts"]["CLASSIFIED"] == 3
        assert status["receipts"]["OUT_OF_SCOPE"] == 3
        well = wait_until(lambda: (found := serving.json("status"))["well"] and found, 30, "all is well")
        assert well["problems"] == []

        results = serving.json("results")
        assert len(results) == 6
        assert {row["reason"] for row in results} >= {"VIEW", "BODY_PART", "NOT_AN_IMAGE"}
        classified = [row for row in results if row["accession_number"] in {"A0", "A1", "A2"}]
        assert all(row["outcome"] in {"SUSPECTED", "NOT_SUSPECTED", "NO_RESULT"} for row in classified)
        assert all((row["probability"] is None) == (row["outcome"] == "NO_RESULT") for row in classified)

        (story,) = serving.json("trace", "A1")
        assert story["images"][0]["transfer_syntax_uid"] == uid.JPEGLosslessSV1
        assert story["receipts"][0]["peer"] == "TESTPACS"

        reconciled = serving.run("reconcile", "--digests", "--json")
        assert reconciled.returncode == 0, reconciled.stdout
        assert json.loads(reconciled.stdout)["acknowledged"] == 6
        assert serving.run("status", "--listener").returncode == 0
        assert serving.run("status", "--here").returncode == 0

        # the other commands' plain output has tests of its own, without a process each
        assert serving.run("results", "--flagged", "--csv").returncode == 0
        assert serving.stop() == 0
    assert not (data / "serve.json").exists()
    assert "Traceback" not in serving.log


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_no_identifier_reaches_the_log(data: Path, tmp_path: Path, level: str) -> None:
    canary = "CANARY7531"
    good, broken = phantom("good", accession_number=canary), broken_code_stream(seed="bad", accession_number=canary)
    for dataset in (good, broken):
        dataset.PatientID = dataset.PatientName = dataset.StudyDescription = canary
    context = Context(broken.SOPClassUID, (uid.JPEG2000Lossless,))
    with Serving(data, log_level=level, drain_timeout="1") as serving:
        assert send(serving.port, [write(tmp_path, good)]) == [0]
        with RawPeer(serving.port) as peer, pytest.raises(Closed):
            # it would colour a terminal, and begin a line of its own
            peer.associate([context], calling=b"\x1b[7mA\r\nFORGED")
        with RawPeer(serving.port) as peer:
            peer.associate([context], calling=b"%s{0}\"','[red]X")
            assert peer.store(broken.SOPInstanceUID, as_sent(broken), broken.SOPClassUID).status == 0x0000
            peer.release()
        assert serving.settled(2, 60)["quarantined"] == {"DECODE_FAILED": 1}
        assert serving.stop() == 0
    assert canary not in serving.log
    for dataset in (good, broken):
        for identifier in (dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID):
            assert str(identifier) not in serving.log
    assert "instance_received" in serving.log
    assert "\x1b" not in serving.log
    assert not [line for line in serving.log.splitlines() if line.startswith("FORGED")]
    assert not [path for path in data.rglob("*") if canary in path.name]


def as_sent(dataset: Dataset) -> bytes:
    """The data set without preamble and file meta information (PS3.10 7.1), as C-STORE carries it."""
    data = part10(dataset)
    return data[144 + int.from_bytes(data[140:144], "little") :]


def test_what_cannot_be_read_never_looks_like_a_negative(data: Path, tmp_path: Path) -> None:
    whole = phantom("truncated")
    broken = write(tmp_path, broken_code_stream(seed="broken", accession_number="B1"))
    with Serving(data) as serving:
        with RawPeer(serving.port) as peer:
            peer.associate([Context(whole.SOPClassUID, (uid.ExplicitVRLittleEndian,))])
            cut = as_sent(whole)[:-1000]
            assert peer.store(whole.SOPInstanceUID, cut, whole.SOPClassUID).status == 0xC000
            peer.release()
        assert send(serving.port, [broken]) == [0x0000]
        assert serving.settled(1, 60)["quarantined"] == {"DECODE_FAILED": 1}
        (row,) = serving.json("results")
        assert (row["outcome"], row["probability"]) == ("NO_RESULT", None)
        assert serving.json("results", "--flagged") == [row | {"priority": 30, "flags": ["NO_RESULT"]}]
        (receipt,) = serving.json("quarantine", "list")
        number = str(receipt["receipt_id"])
        assert serving.json("quarantine", "show", number)["present"]
        assert serving.run("quarantine", "retry", number).returncode == 0
        wait_until(lambda: serving.receipts("state = 'QUARANTINED'"), 30, "it is in quarantine again")
        assert serving.json("quarantine", "show", number)["receipt"]["retries"] == 1
        assert serving.run("reconcile").returncode == 0


def test_ctrl_c_ends_it_in_good_order(data: Path) -> None:
    with Serving(data) as serving:
        children = psutil.Process(serving.state["pid"]).children(recursive=True)
        assert serving.stop(signal.SIGINT) == 0
        psutil.wait_procs(children, 10)
        assert not [child for child in children if child.is_running()]


def test_nothing_outlives_a_killed_supervisor(data: Path) -> None:
    with Serving(data) as serving:
        assert set(serving.state["children"]) == {"server", "registrar", "work-1"}
        children = psutil.Process(serving.state["pid"]).children(recursive=True)
        assert len(children) >= 3
        serving.kill()
        gone, alive = psutil.wait_procs(children, 15)
        assert not alive
        assert gone
        # nothing to clean up: the lock went with the process
        serving.start()
        assert serving.stop() == 0


def test_a_second_serve_on_the_same_data_is_refused(data: Path) -> None:
    with Serving(data) as serving:
        second = command("serve", data=data)
        assert second.returncode == 2
        assert f"another serve (process {serving.state['pid']}) already runs" in second.stderr
        assert "Traceback" not in second.stderr
        assert serving.run("status", "--listener").returncode == 0


@pytest.mark.parametrize("name", ["serve", "listen"])
@pytest.mark.parametrize("which", ["listen_port", "tls_port", "listener_metrics_port"])
def test_a_port_in_use_is_named_before_anything_starts(data: Path, name: str, which: str) -> None:
    tls = {"tls_port": "0", "tls_certificate_file": "tls.crt", "tls_key_file": "tls.key"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command(name, data=data, settings={**tls, which: port})
    assert done.returncode == 2, done.stderr
    # one line, and none of a child's
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"lungwatch: 127.0.0.1 port {port} is already in use")
    assert f"LUNGWATCH_{which.upper()}" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("listen_port", "eleven", "LUNGWATCH_LISTEN_PORT"),
        ("listen_port", "70000", "LUNGWATCH_LISTEN_PORT"),
        ("ae_title", "WAY-TOO-LONG-AE-TITLE", "LUNGWATCH_AE_TITLE"),
        ("database_url", "no url", "LUNGWATCH_DATABASE_URL"),
        ("database_url", "mysql://x/y", "LUNGWATCH_DATABASE_URL"),
        ("site_prevalence", "7", "LUNGWATCH_SITE_PREVALENCE"),
        ("listn_port", "1", "LUNGWATCH_LISTEN_PORT"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(data: Path, name: str, value: str, said: str) -> None:
    done = command("serve", data=data, settings={name: value})
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_listen_address_that_is_not_ours_is_named(data: Path) -> None:
    done = command("serve", data=data, settings={"listen_host": "192.0.2.1", "listen_port": "11112"})
    assert done.returncode == 2
    assert "192.0.2.1" in done.stderr


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(command("serve", data=tmp_path / "file" / "data", cwd=tmp_path), tmp_path / "file" / "data")


def test_a_read_only_data_directory_is_named(data: Path, tmp_path: Path) -> None:
    require_mounts()
    data.mkdir()
    read_only = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o ro none "{data}" && exec "$@"', "sh")
    for name in ("serve", "listen"):
        refused(command(name, data=data, within=read_only, cwd=tmp_path), data)


def refused(done: subprocess.CompletedProcess[str], data: Path) -> None:
    assert done.returncode == 2, done.stderr
    assert str(data) in done.stderr
    assert "LUNGWATCH_DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_outdated_ledger_is_refused_where_it_is_not_ours_to_upgrade(data: Path) -> None:
    assert command("db", "upgrade", data=data).returncode == 0
    with sqlite3.connect(data / "lungwatch.db") as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = 'long-ago'")
    ledger.close()
    for name in ("results", "status", "work", "serve"):
        done = command(name, data=data)
        assert done.returncode == 2, (name, done.stderr)
        assert "schema" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_empty_ledger_says_what_to_do(data: Path) -> None:
    data.mkdir()
    sqlite3.connect(data / "lungwatch.db").close()
    (data / "lungwatch.db").touch()
    done = command("results", data=data)
    assert done.returncode == 2
    assert "lungwatch db upgrade" in done.stderr


def test_no_ledger_at_all_is_not_made_by_looking(data: Path) -> None:
    data.mkdir()
    done = command("status", data=data)
    assert done.returncode == 2
    assert "there is no ledger" in done.stderr
    assert not (data / "lungwatch.db").exists()


def test_status_says_that_the_listener_hangs(data: Path) -> None:
    with Serving(data) as serving:
        wait_until(lambda: serving.json("status")["well"], 60, "all is well")
        server = wait_until(lambda: serving.find("server"), 30, "the association server")
        family = [server, *server.children()]
        for process in family:
            process.suspend()
        try:
            done = serving.run("status", "--json")
            assert done.returncode == 1
            assert any("listener at" in problem for problem in json.loads(done.stdout)["problems"])
        finally:
            for process in family:
                process.resume()
        assert serving.run("status").returncode == 0
