"""`lungwatch demo` as a user runs it: a whole Lungwatch, real DIMSE, every instance accounted for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from cli.demo.ending import Ending
from cli.demo.server import ServeFailed, environment, served
from cli.demo.studies import SCENARIOS
from tests.factories import dicom_objects as factory
from tests.system.serving import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo from a folder whose .env would lead it astray."""
    (folder / ".env").write_text("LUNGWATCH_DATABASE_URL=postgresql://nobody@127.0.0.1:1/elsewhere\n")
    return subprocess.run(
        [sys.executable, "-m", "cli", "demo", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LUNGWATCH_LISTEN_PORT": "1", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_the_phantom_day_is_complete_and_leaves_a_picture(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json", "--out", "there/sheet.png")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["clean"] is True
    assert document["reconciled"] is True
    assert len(document["instances"]) == len(SCENARIOS)
    for one, scenario in zip(document["instances"], SCENARIOS, strict=True):
        assert one["status"] == 0
        assert one["receipt"] == scenario.expected
        assert one["problem"] is None
        # the demo judges no score; but where there is a result there is a probability, and nowhere else
        assert (one["probability"] is not None) == (one["outcome"] in {"SUSPECTED", "NOT_SUSPECTED"})
    by_name = {scenario.name: one for scenario, one in zip(SCENARIOS, document["instances"], strict=True)}
    assert by_name["lateral"]["reason"] == "VIEW"
    assert by_name["hand"]["reason"] == "BODY_PART"
    assert by_name["adult"]["reason"] == "AGE"
    assert by_name["corrupt"]["reason"] == "DECODE_FAILED"
    assert "NO_RESULT" in by_name["corrupt"]["flags"]
    assert "CONFLICT" in by_name["conflict"]["flags"]
    assert "UNKNOWN_AGE" in by_name["unknown"]["annotations"]
    # one picture in two lossless transfer syntaxes is one input, but for what a smaller image misses
    assert by_name["ht"]["probability"] == pytest.approx(by_name["lossless"]["probability"], abs=0.01)
    with Image.open(tmp_path / "there/sheet.png") as sheet:
        assert sheet.width > 1000
        assert np.asarray(sheet.convert("L")).std() > 30
    assert not list(tmp_path.glob("lungwatch-demo-*")), "the scratch folder is removed"


def test_files_of_ones_own_and_what_is_refused_is_said(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    factory.write(mine, factory.phantom("a", picture=factory.gradient(600, 700)), "a.dcm")
    factory.write(mine, factory.lateral(seed="b"), "b.dcm")
    Image.fromarray((factory.gradient(500, 600) >> 4).astype(np.uint8)).save(mine / "c.png")
    # its command will name another instance than its data set does
    stranger = factory.phantom("d")
    uid = str(stranger.SOPInstanceUID).encode()
    other = uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2")
    (mine / "d.dcm").write_bytes(factory.part10(stranger).replace(uid, other, 1))

    done = demo(tmp_path, "--data", str(mine), "--out", "sheet.png")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT accounted for" in done.stdout
    assert "d.dcm: not acknowledged: status 0xA900" in done.stdout
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line.split()[1:2] and "dcm" in line}
    assert "OUT_OF_SCOPE" in lines["b.dcm"]
    assert "CLASSIFIED" in lines["a.dcm"]
    assert "UNKNOWN_AGE" in done.stdout
    (scratch,) = tmp_path.glob("lungwatch-demo-*")
    assert (scratch / "serve.log").exists(), "what went wrong is left to look at"


def test_ended_from_outside_it_leaves_neither_server_nor_folder(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "cli", "demo", "--out", "sheet.png"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    (log,) = wait_until(lambda: list(tmp_path.glob("lungwatch-demo-*/data/serve.json")), 60, "serve runs")
    server = psutil.Process(json.loads(log.read_bytes())["pid"])
    children = [server, *server.children(recursive=True)]
    running.terminate()
    running.communicate(timeout=90)
    assert running.returncode == 130
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert not list(tmp_path.glob("lungwatch-demo-*"))


@pytest.mark.parametrize("arguments", [["--data", "nowhere"], ["--limit", "0"]])
def test_a_wrong_command_line_starts_nothing(tmp_path: Path, arguments: list[str]) -> None:
    done = demo(tmp_path, *arguments)
    assert done.returncode == 2
    assert "nowhere" in done.stderr or "limit" in done.stderr
    assert not list(tmp_path.glob("lungwatch-demo-*"))


def test_a_server_that_does_not_start_is_explained_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data directory should be")
    with pytest.raises(ServeFailed, match=r"did not start \(exit code 2\); its last words"), served(tmp_path, Ending()):
        pass


def test_nothing_of_the_users_own_settings_reaches_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUNGWATCH_DATABASE_URL", "postgresql://user:secret@elsewhere/ledger")
    monkeypatch.setenv("LUNGWATCH_RUNTIME", "litert")
    given = environment(tmp_path)
    assert "LUNGWATCH_DATABASE_URL" not in given
    assert given["LUNGWATCH_RUNTIME"] == "litert"
    assert given["LUNGWATCH_DATA_DIR"] == str(tmp_path)


def _swallows() -> None:
    """What Python does with an exception from a finalizer: say so on standard error, and go on."""
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupt_that_is_swallowed_still_ends_it(tmp_path: Path) -> None:
    ending, before = Ending(), signal.getsignal(signal.SIGTERM)
    with ending.heeded():
        ending.check()
        _swallows()
        with pytest.raises(KeyboardInterrupt), served(tmp_path, ending):
            pass
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "data/serve.json").exists()
