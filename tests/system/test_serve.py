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

from tests.factories.dicom_objects import hand, lateral, phantom, structured_report, truncated_file, write
from tests.programs import require_mounts
from tests.system.serving import Serving, command, send
from tests.waiting import wait_until


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def a_days_work(folder: Path) -> list[Path]:
    """Seven objects: three chests, a lateral, a hand, a report, one broken off."""
    syntaxes = (uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.JPEG2000Lossless)
    files = [
        write(folder, phantom(f"chest-{number}", syntax=syntax, accession_number=f"A{number}"), f"chest-{number}.dcm")
        for number, syntax in enumerate(syntaxes)
    ]
    files.append(write(folder, lateral(seed="lateral"), "lateral.dcm"))
    files.append(write(folder, hand(seed="hand"), "hand.dcm"))
    files.append(write(folder, structured_report("report"), "report.dcm"))
    broken = folder / "broken.dcm"
    broken.write_bytes(truncated_file(0.6, seed="broken"))
    return [*files, broken]


def test_studies_sent_are_classified_shown_and_accounted_for(data: Path, tmp_path: Path) -> None:
    files = a_days_work(tmp_path)
    with Serving(data) as serving:
        assert send(serving.port, files[:-1]) == [0] * 6
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
        assert serving.run("trace", "nobody").returncode == 1

        reconciled = serving.run("reconcile", "--digests", "--json")
        assert reconciled.returncode == 0, reconciled.stdout
        assert json.loads(reconciled.stdout)["acknowledged"] == 6
        assert serving.run("status", "--listener").returncode == 0
        assert serving.run("status", "--here").returncode == 0

        for plain in (("results",), ("status",), ("reconcile",), ("trace", "A1"), ("results", "--flagged", "--csv")):
            assert serving.run(*plain).returncode == 0
        assert serving.stop() == 0
    assert not (data / "serve.json").exists()
    assert "Traceback" not in serving.log


def test_no_identifier_reaches_the_log(data: Path, tmp_path: Path) -> None:
    canary = "CANARY7531"
    dataset = phantom("canary", accession_number=canary)
    dataset.PatientID = dataset.PatientName = dataset.StudyDescription = canary
    with Serving(data) as serving:
        send(serving.port, [write(tmp_path, dataset)])
        serving.settled(1, 60)
        serving.stop()
    assert canary not in serving.log
    assert str(dataset.SOPInstanceUID) not in serving.log
    assert not [path for path in data.rglob("*") if canary in path.name]


def test_a_truncated_object_never_looks_like_a_negative(data: Path, tmp_path: Path) -> None:
    broken = a_days_work(tmp_path)[-1]
    with Serving(data) as serving:
        statuses = send(serving.port, [broken])
        if statuses == [0]:
            serving.settled(1, 60)
            (row,) = serving.json("results", "--flagged")
            assert row["outcome"] == "NO_RESULT"
            (receipt,) = serving.json("quarantine", "list")
            assert receipt["reason"] == "TRUNCATED"
            shown = serving.json("quarantine", "show", str(receipt["receipt_id"]))
            assert shown["present"]
            assert serving.run("quarantine", "retry", str(receipt["receipt_id"])).returncode == 0
            wait_until(lambda: serving.json("quarantine", "list"), 30, "it is in quarantine again")
            assert serving.json("quarantine", "show", str(receipt["receipt_id"]))["receipt"]["retries"] == 1
        else:
            assert statuses == [0xC000]
        assert serving.run("reconcile").returncode == 0


def test_ctrl_c_ends_it_in_good_order(data: Path) -> None:
    with Serving(data) as serving:
        children = psutil.Process(serving.state["pid"]).children(recursive=True)
        assert serving.stop(signal.SIGINT) == 0
        psutil.wait_procs(children, 10)
        assert not [child for child in children if child.is_running()]


def test_nothing_outlives_a_killed_supervisor(data: Path) -> None:
    with Serving(data) as serving:
        wait_until(lambda: serving.find("registrar") and serving.find("server"), 30, "the listener's processes")
        children = psutil.Process(serving.state["pid"]).children(recursive=True)
        assert len(children) >= 4
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


def test_a_port_in_use_is_named(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for name in ("serve", "listen"):
            done = command(name, data=data, settings={"listen_port": port})
            assert done.returncode == 2, done.stderr
            assert port in done.stderr
            assert "in use" in done.stderr
            assert "Traceback" not in done.stderr


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
