"""Every file that pydicom ships, sent through the whole journey: a listener, a registrar and a worker as processes.

What the listener takes goes over DIMSE, byte for byte. What it refuses, or what no
peer could send it (another transfer syntax, no Part 10 file), is left in the spool
as if it had been taken, because the worker must survive that too.
`make test-files` writes ``docs/test-files.md``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pydicom.data
from pydicom.uid import UID
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from core.settings import Settings
from core.uids import is_uid
from db.base import make_engine, make_sessions
from db.migrate import upgrade
from tests.integration.worker_kit import always, bench, spool
from tests.integration.worker_process import receipts, wait_finished, working
from tests.peers.listener import ListenerProcess, data_set_in, registrar
from tests.peers.raw import Closed, Context, RawPeer
from tests.waiting import wait_until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "test-files.md"
ROOT = Path(pydicom.data.__file__).parent
HELPERS = 2
# far below the defaults, which are meant for radiographs of any size
LIMITS = {"helper_memory_bytes": 1 << 30, "helper_seconds": 20, "lease_seconds": 41, "helper_cpu_seconds": 20}
_HEAD = """\
# Every file that pydicom ships, and what becomes of it

pydicom's own test files, as they are installed with it, are good and bad objects of many kinds: truncated, without
file meta information, in retired transfer syntaxes, in every character set, multi-frame, colour, and some files that
are not DICOM at all. Each is sent over DIMSE to a real listener, registered and worked on by a real worker. What the
listener refuses, or no peer could propose, is then left in the spool as if it had been taken: the worker must survive
that too. Several files hold one SOP instance, and a later one is then compared with the first.

Hardly any shows a chest. So that their pixels are decoded too, each goes through a second worker that takes whatever
it is given for a chest radiograph; the last column says what became of it there.

{summary} No helper process died or was replaced, none came near its limits, and the workers went on.

This page is written by `make test-files`, and a test holds it against what happens.

| file | transfer syntax | how it came in | state | reason | taken for a chest |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Ended:
    """What became of one file."""

    name: str
    syntax: str
    came: str
    state: str
    reason: str
    taken: str


@dataclass(frozen=True)
class Helper:
    """The most that a helper process used until the end, and whether it was there from the beginning."""

    resident: int
    mapped: int
    cpu_seconds: float
    was_there: bool


def files() -> list[Path]:
    """What is installed, in an order that stays."""
    return sorted(path for path in ROOT.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".json"})


def travel(settings: Settings, database: Engine) -> tuple[dict[Path, tuple[str, ...]], list[Helper]]:
    """Send every file and wait until each is in a terminal state; fail if the worker is not well at the end."""
    entries: dict[str, Path] = {}
    came: dict[Path, tuple[str, str]] = {}
    with working(settings, helper_processes=HELPERS, **LIMITS) as worker:
        with ListenerProcess(settings.data_dir) as listener:
            for path in files():
                came[path] = _send(settings, listener, path)
                # nobody registers yet, so what is new is this file's
                (new,) = {entry.name for entry in listener.entries} - entries.keys()
                entries[new] = path
            family = psutil.Process(worker.process.pid)
            before = wait_until(lambda: found if len(found := family.children()) == HELPERS else None, 60, "helpers")
            with registrar(settings.data_dir):
                wait_until(lambda: len(receipts(database)) == len(entries), 60, "every file is registered")
                wait_finished(database, 120)
        helpers = [_used(helper, before) for helper in family.children()]
        assert worker.stop() == 0
    ended = {receipt.entry: receipt for receipt in receipts(database)}
    assert ended.keys() == entries.keys()
    return {
        path: (*came[path], ended[name].state.value, ended[name].reason or "") for name, path in entries.items()
    }, helpers


def decode(settings: Settings, sessions: sessionmaker[Session]) -> tuple[dict[Path, str], list[Helper]]:
    """Let a worker take every file for a chest radiograph, so that its helper decodes what there is to decode."""
    limited = settings.model_copy(update=LIMITS)
    with bench(limited, sessions, always(0.1)) as worker:
        taking_all = replace(worker.serving.reading_rules, scope=None)
        worker.serving = replace(worker.serving, reading_rules=taking_all)
        worker.lanes.warm()
        before = [psutil.Process(pid) for pid in worker.helpers.pids]
        sent = {path: worker.deliver(path.read_bytes(), instance=_instance(path)) for path in files()}
        worker.run()
        helpers = [_used(psutil.Process(pid), before) for pid in worker.helpers.pids]
        ended = {path: worker.receipt(receipt_id) for path, receipt_id in sent.items()}
    return {path: f"{one.state} {one.reason or ''}".strip() for path, one in ended.items()}, helpers


def _instance(path: Path) -> str | None:
    try:
        return pydicom.filereader.read_file_meta_info(path).get("MediaStorageSOPInstanceUID")
    except pydicom.errors.InvalidDicomError:
        return None


def _send(settings: Settings, listener: ListenerProcess, path: Path) -> tuple[str, str]:
    """Offer a file to the listener, else leave it in the spool; return its transfer syntax and how it came in."""
    content = path.read_bytes()
    try:
        data, meta = data_set_in(content), pydicom.filereader.read_file_meta_info(path)
    except (AssertionError, pydicom.errors.InvalidDicomError):
        spool(settings, content)
        return "none", "spooled: it has no file meta information as PS3.10 has it"
    sop_class, instance, syntax = (
        UID(meta.get(keyword) or "")
        for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
    )
    if not all(is_uid(one) for one in (sop_class, instance, syntax)):
        spool(settings, content)
        return syntax.name or "none", "spooled: its file meta information lacks a UID"
    with RawPeer(listener.port) as peer:
        peer.associate([Context(sop_class, [syntax])])
        if not peer.accepted:
            refused = "spooled: the presentation context is refused"
        else:
            try:
                status = peer.store(instance, data, sop_class).status
            except Closed:
                refused = "spooled: the association is aborted"
            else:
                if status == 0:
                    return syntax.name, "C-STORE"
                refused = f"spooled: C-STORE is answered 0x{status:04X}"
    spool(settings, content)
    return syntax.name, refused


def _used(helper: psutil.Process, before: Sequence[psutil.Process]) -> Helper:
    lines = Path(f"/proc/{helper.pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith("Vm")}
    times = helper.cpu_times()
    return Helper(sizes["VmHWM"], sizes["VmPeak"], times.user + times.system, helper in before)


def page(ended: Sequence[Ended]) -> str:
    """Return the text of the page."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(row.state for row in ended).items()))
    lines = [
        f"| {row.name} | {row.syntax} | {row.came} | {row.state} | {row.reason} | {row.taken} |\n" for row in ended
    ]
    return _HEAD.format(summary=f"{len(ended)} files: {states}.") + "".join(lines)


def rows(travelled: Mapping[Path, tuple[str, ...]], taken: Mapping[Path, str]) -> list[Ended]:
    """Put together what both workers said of each file."""
    return [Ended(str(path.relative_to(ROOT)), *said, taken[path]) for path, said in travelled.items()]


def _ledger(folder: Path) -> tuple[Settings, Engine]:
    settings = Settings(data_dir=folder, free_space_bytes=0, free_space_fraction=0.0)
    database = make_engine(settings)
    upgrade(database)
    return settings, database


def main() -> int:
    """Write the page; say what the helpers used."""
    with tempfile.TemporaryDirectory() as scratch, capture_logs():
        travelled, helpers = travel(*_ledger(Path(scratch) / "travelled"))
        settings, database = _ledger(Path(scratch) / "decoded")
        taken, others = decode(settings, make_sessions(database))
    PAGE.write_text(page(rows(travelled, taken)))
    for helper in [*helpers, *others]:
        sys.stdout.write(
            f"helper: {helper.resident >> 20} MiB resident, {helper.mapped >> 20} MiB mapped at most, "
            f"{helper.cpu_seconds:.1f} s of processor\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
