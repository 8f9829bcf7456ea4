"""Rows 35, 36 and 40 at the door: received text becomes no file name, no log line of its own and no control code."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.peers.data_sets import data_set, element, new_uid
from tests.peers.listener import ListenerProcess
from tests.peers.raw import Closed, Context, RawPeer, Rejected
from tests.peers.scene import introduce
from tests.peers.syscalls import read, strace

# what names a file in one system or another
PATHS = (
    "../../x",
    "1.2/../../a",
    "/etc/cron.d/x",
    "..",
    ".",
    "1.2\\..\\..\\x",
    "1.2%2f..%2fx",
    "1.2\0/../x",
    "C:x",
    "1.2;rm -rf .",
    "$(id)",
    "~root",
)
TITLES = {
    "newline": b'EVIL\n{"event"',
    "carriage return": b"EVIL\rINFO x",
    "escape": b"EVIL\x1b[2J\x1b[1;31m",
    "C1 control": b"EVIL\x9b31m",
    "NUL": b"EVIL\0root",
    "right to left": "EVIL\u202etxt".encode(),
    "zero width": "EVIL\u200b\ufeff".encode(),
    "JSON": b'"} {"event": 1',
    "format": b"%s%n{peer}{0!r}",
    "backslash": b"EVIL\\nx\\u0000",
    "path": b"../../../../x",
    "shell": b"`id`;$(id)|id",
    "HTML": b"<script>alert(1",
    "bytes": bytes(range(0x80, 0x90)),
    "spaces": b" " * 16,
    "zeros": bytes(16),
}
CREATING = ("openat", "open", "creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat")
REMOVING = ("unlink", "unlinkat", "rmdir", "symlink", "symlinkat", "truncate", "chmod", "fchmodat", "mknodat")


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.requires("strace")
def test_row_40_no_received_text_names_a_file(tmp_path: Path) -> None:
    data, trace = tmp_path / "outer" / "inner" / "data", tmp_path / "trace"
    # every system call of every thread is stopped at, which takes long on a busy machine
    patient = {"request_timeout": 120, "pdu_timeout": 120}
    with ListenerProcess(data, prefix=strace(trace, CREATING + REMOVING), settings=patient) as listener:
        before = tree(tmp_path)
        for path in PATHS:
            text = path.encode()
            with RawPeer(listener.port) as peer, contextlib.suppress(Closed):
                # a title that is none may cost the association
                peer.associate(calling=text[:16])
            with RawPeer(listener.port) as peer:
                peer.associate()
                assert peer.store(path, data_set(path)).status in {0x0117, 0xA900}
                # a study, a series and a file's own idea of its name are nobody's business here
                extra = b"".join(
                    element(tag, vr, text)
                    for tag, vr in [(0x0020000D, "UI"), (0x0020000E, "UI"), (0x00041500, "CS"), (0x00080050, "SH")]
                )
                good = new_uid()
                assert peer.store(good, data_set(good, extra=extra)).status in {0x0000, 0xC000}
                peer.release()
            with RawPeer(listener.port) as peer, contextlib.suppress(Closed):
                # nor is a class or a transfer syntax
                assert peer.associate([Context(path), Context(transfer=[path])]).accepted == {}
        psutil.Process(listener.pid).children()[0].terminate()
        assert listener.wait() == 0
        made = tree(tmp_path) - before
    spool = str(listener.spool.root.relative_to(tmp_path))
    names = rf"{re.escape(spool)}/(tmp|new|commitment)(/[0-9a-f]{{20}}-[0-9]+(-[0-9a-f]{{64}})?\.(dcm|part))?"
    assert [path for path in made if not re.fullmatch(names, path)] == []
    # and nothing was there for a moment
    touched = {
        path
        for call in read(trace)
        if call.name in REMOVING or not call.name.startswith("open") or re.search("O_CREAT|O_WRONLY|O_RDWR", call.text)
        for path in re.findall(r'"(/[^"]*)"', call.text)
    }
    allowed = (f"{data}/", "/dev/", "/proc/")
    assert [path for path in touched if not path.startswith(allowed) and path != str(data)] == []


def test_titles_padded_with_nuls_are_read_as_meant(tmp_path: Path) -> None:
    """Not by the standard (PS3.8 Table 9-11 pads with spaces), but old devices do."""
    introduce(tmp_path / "data", b"OLD_CR", unknown="refuse")
    with ListenerProcess(tmp_path / "data") as listener, RawPeer(listener.port) as peer:
        peer.associate(called=b"LUNGWATCH".ljust(16, b"\0"), calling=b"OLD_CR".ljust(16, b"\0"))
        instance = new_uid()
        assert peer.store(instance, data_set(instance)).status == 0x0000
        peer.release()


@pytest.mark.parametrize("path", PATHS)
def test_row_40_a_uid_that_is_a_path_is_refused(listener: ListenerProcess, path: str) -> None:
    before = listener.entries
    with RawPeer(listener.port) as peer:
        assert peer.associate().store(path, data_set(path)).status in {0x0117, 0xA900}
        # hidden in the data set alone it is another instance
        good = new_uid()
        assert peer.store(good, data_set(path)).status == 0xA900
    assert (listener.entries, listener.leftovers) == (before, [])


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListenerProcess]:
    with ListenerProcess(tmp_path_factory.mktemp("text") / "data", settings={"log_level": "DEBUG"}) as process:
        yield process


def lines(listener: ListenerProcess, start: int) -> list[bytes]:
    return listener.log_path.read_bytes()[start:].splitlines()


def is_harmless(line: bytes) -> bool:
    """Nothing a terminal or a reader of lines acts upon; what JSON escapes is shown and not done."""
    return all(0x20 <= byte < 0x7F for byte in line)


@pytest.mark.parametrize("unknown", ["accept", "refuse"])
def test_rows_35_36_an_ae_title_forges_no_log_line(tmp_path: Path, unknown: str) -> None:
    introduce(tmp_path / "data", unknown=unknown)
    with ListenerProcess(tmp_path / "data", settings={"listener_processes": 1}) as listener:
        for title in TITLES.values():
            for calling, called in ((title, b"LUNGWATCH"), (b"PEER", title)) * 3:
                with RawPeer(listener.port) as peer:
                    try:
                        peer.associate(calling=calling, called=called)
                        peer.store("../../x", data_set("../../x"))
                        peer.release()
                    except Rejected as rejection:
                        assert rejection.why in {(1, 1, 3), (1, 1, 7)}  # noqa: PT017 - accepted is right as well
                    except Closed:
                        continue
        assert listener.terminate() == 0
        log = listener.log_path.read_bytes()
        assert len(listener.events) == len(log.splitlines())
        assert [line for line in log.splitlines() if not is_harmless(line)] == []
        assert [event["event"] for event in listener.events if not event["event"].isidentifier()] == []
        said = [event["event"] for event in listener.events if event["level"] in {"warning", "error"}]
        assert said
        assert [event for event in set(said) if said.count(event) > 1] == [], "more than once a minute"


def test_row_35_nothing_received_is_in_the_log(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data", settings={"log_level": "DEBUG"}) as listener:
        instance = new_uid()
        for text in (b"Canary1", b"Canary2\0", "Canary3\u00e9".encode()):
            extra = element(0x00100020, "LO", text) + element(0x00080050, "SH", text)
            with RawPeer(listener.port) as peer:
                peer.associate()
                peer.store(instance, data_set(instance, extra=extra))
                peer.store(instance, data_set(instance, extra=extra)[:-3])
                peer.store("1.2.Canary", data_set(instance, extra=extra))
                peer.store(instance, data_set(instance, "1.2.Canary", extra=extra))
                peer.release()
        for received in ("Canary", instance, "1.2.840", "1.2.826.0.1.3680043.8.498"):
            assert received not in listener.log
