"""``python -m bench.night DATASET``: what a fine-tuning night costs, and what it costs the worker beside it.

An installation of its own: the data set imported, some new pictures to learn
from, `lungwatch serve`, and a sender that goes on from before the night until
after it. The worker's time is the ledger's: from a receipt to its result.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from PIL import Image
from pydicom.uid import UID
from pynetdicom import AE
from sqlalchemy import NullPool, create_engine, text

from bench import machine, processes
from bench.encoding import new_uid
from bench.figures import percentile
from bench.report import insert, table
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import PhantomObject, build

_ROOT: Final = Path(__file__).resolve().parents[1]
_DOCUMENT: Final = _ROOT / "docs" / "performance.md"
_TARGET: Final = "bench-night"
_SHAPE: Final = (1800, 1400)
_WARM_SECONDS: Final = 20.0
_QUIET_SECONDS: Final = 120.0
_MEGABYTE: Final = 1e6
_HOURS_BAR: Final = 2.0
_LATENCY_BAR: Final = 2.0
_NEW_PATIENTS: Final = 60


@dataclass(frozen=True, slots=True)
class Latency:
    """From receipt to result, seconds, of images that came in some period."""

    images: int
    median: float
    p95: float


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Attributes
    ----------
    hours : float
        Of the whole night.
    steps : dict of str to float
        Seconds of each.
    peak : float
        Megabytes that the night's processes held at most, shared pages counted once.
    before, during, after : Latency
    """

    date: str
    machine: Mapping[str, str]
    images: int
    epochs: int
    state: str
    hours: float
    steps: dict[str, float]
    peak: float
    before: Latency
    during: Latency
    after: Latency


def main(arguments: Sequence[str]) -> int:
    """Measure, write and say whether the bars are met; return the exit code."""
    options = _parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="lungwatch-bench-", dir=options.scratch))
    try:
        cost = _measure(options, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(cost), indent=1))
    if options.out:
        insert(_DOCUMENT, _markdown(cost), _TARGET)
    for what, bound, measured, met in _bars(cost):
        print(f"{'met   ' if met else 'MISSED'} {what}: {measured}, {bound}")
    return 0


def _measure(options: argparse.Namespace, folder: Path) -> Cost:
    facts = {
        name: value for name, value in machine.facts(folder).items() if name not in {"pynetdicom", "dcmtk", "Orthanc"}
    }
    site = _Site(folder, options.epochs)
    site.run("db", "upgrade")
    site.run("data", "import", str(options.dataset))
    site.run("data", "import", str(_new_pictures(folder / "new")))
    site.run("testset", "freeze", "--reason", "benchmark")
    with site.serving() as port, _sending(port, options.every):
        time.sleep(_WARM_SECONDS)
        marks = [site.now()]
        time.sleep(_QUIET_SECONDS)
        marks.append(site.now())
        night, peak = site.night()
        marks.append(site.now())
        time.sleep(_QUIET_SECONDS)
        marks.append(site.now())
        time.sleep(_WARM_SECONDS)
        before, during, after = (site.latency(*period) for period in pairwise(marks))
    (images,) = site.ask("SELECT images FROM snapshot")
    return Cost(
        datetime.now(UTC).date().isoformat(),
        facts,
        int(images),
        options.epochs,
        night["state"],
        sum(night["seconds"].values()) / 3600,
        night["seconds"],
        peak / _MEGABYTE,
        before,
        during,
        after,
    )


class _Site:
    """An installation in a folder."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self._data = folder / "data"
        key = folder / "signing_key.pem"
        key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")},
            "PYTHONPATH": str(_ROOT),
            "LUNGWATCH_DATA_DIR": str(self._data),
            "LUNGWATCH_SIGNING_KEY_FILE": str(key),
            "LUNGWATCH_LISTEN_HOST": "127.0.0.1",
            "LUNGWATCH_LISTEN_PORT": "0",
            "LUNGWATCH_LISTENER_METRICS_PORT": "0",
            "LUNGWATCH_WORKER_METRICS_PORT": "0",
            "LUNGWATCH_FREE_SPACE_BYTES": "0",
            "LUNGWATCH_FREE_SPACE_FRACTION": "0.01",
            "LUNGWATCH_NIGHTLY_FINE_TUNE_EPOCHS": str(epochs),
            "LUNGWATCH_NIGHTLY_SCRATCH_WEEKDAY": "",
        }

    def run(self, *arguments: str) -> str:
        """Run a command and return what it printed."""
        done = subprocess.run(
            self._command(*arguments),
            env=self._environment,
            cwd=self._data.parent,
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"lungwatch {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        """Run `serve`; gives the listener's port."""
        with (self._data.parent / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                self._command("serve"), env=self._environment, cwd=self._data.parent, stdout=log, stderr=log
            )
            try:
                ready = self._data / "serve.json"
                while not ready.exists():
                    if process.poll() is not None:
                        raise SystemExit((self._data.parent / "serve.log").read_text())
                    time.sleep(0.1)
                yield int(json.loads(ready.read_text())["listener"]["port"])
            finally:
                process.terminate()
                process.wait()

    def night(self) -> tuple[dict[str, Any], int]:
        """Run the night; return how it is listed, and the most memory it held."""
        process = subprocess.Popen(
            self._command("nightly", "--now", "--json"),
            env=self._environment,
            cwd=self._data.parent,
            stdout=subprocess.PIPE,
            text=True,
            # as a worker starts it
            start_new_session=True,
        )
        peak = 0
        while process.poll() is None:
            with contextlib.suppress(OSError):
                peak = max(peak, processes.memory(process.pid).proportional)
            time.sleep(1.0)
        said, _ = process.communicate()
        found: dict[str, Any] = json.loads(said)
        return found, peak

    def ask(self, query: str, **values: object) -> tuple[Any, ...]:
        """Return a row of the ledger."""
        engine = create_engine(f"sqlite:///file:{self._data / 'lungwatch.db'}?mode=ro&uri=true", poolclass=NullPool)
        with engine.connect() as ledger:
            return tuple(ledger.execute(text(query), values).one())

    def now(self) -> str:
        """Return the ledger's time."""
        return str(self.ask("SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now')")[0])

    def latency(self, begin: str, end: str) -> Latency:
        """Measure what was received within a period."""
        engine = create_engine(f"sqlite:///file:{self._data / 'lungwatch.db'}?mode=ro&uri=true", poolclass=NullPool)
        query = (
            "SELECT (julianday(finished_at) - julianday(received_at)) * 86400 FROM receipt "
            "WHERE received_at >= :begin AND received_at < :end"
        )
        with engine.connect() as ledger:
            seconds = [row[0] for row in ledger.execute(text(query), {"begin": begin, "end": end})]
        if None in seconds:
            raise SystemExit("an image that was received has no result yet")
        return Latency(len(seconds), percentile(seconds, 0.5), percentile(seconds, 0.95))

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli", *arguments]


@contextlib.contextmanager
def _sending(port: int, every: float) -> Iterator[None]:
    """Send a new image each so many seconds for as long as the block lasts."""
    ended = threading.Event()
    thread = threading.Thread(target=_send, args=(port, every, ended), name="sender")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _send(port: int, every: float, ended: threading.Event) -> None:
    rng = random.Random(1)  # noqa: S311 - repeatable
    dataset = build(
        PhantomObject(
            picture=radiograph("clear", 1, _SHAPE),
            study_uid=UID(new_uid(rng)),
            series_uid=UID(new_uid(rng)),
            sop_instance_uid=UID(new_uid(rng)),
        )
    )
    entity = AE(ae_title="BENCH")
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="LUNGWATCH")
    due = time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        due += every
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = new_uid(rng), new_uid(rng)
        dataset.SOPInstanceUID = UID(new_uid(rng))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        # another picture: one that is known is not classified again
        dataset.PixelData = dataset.PixelData[:-2] + rng.randbytes(1) + b"\x01"
        if association.send_c_store(dataset).Status != 0:
            raise SystemExit("the listener refused an image")
    association.release()


def _new_pictures(folder: Path) -> Path:
    """Write pictures of patients whom the starter was not fitted on: noise, for it is only about what they cost."""
    rng = np.random.default_rng(7)
    for label in ("NORMAL", "PNEUMONIA"):
        (folder / label).mkdir(parents=True)
        for number in range(_NEW_PATIENTS):
            grey = rng.integers(0, 256, (28, 28)).astype(np.uint8)
            picture = Image.fromarray(grey).resize((224, 224), Image.Resampling.BICUBIC)
            picture.save(folder / label / f"new-{label}-{number:03}.jpeg", quality=90)
    return folder


def _bars(cost: Cost) -> list[tuple[str, str, str, bool]]:
    quiet = max(cost.before.median, cost.after.median)
    slower = cost.during.median / quiet
    return [
        ("a fine-tuning night", f"at most {_HOURS_BAR:g} h", f"{cost.hours:.2f} h", cost.hours <= _HOURS_BAR),
        (
            "worker's median from receipt to result",
            f"at most {_LATENCY_BAR:g} times as long",
            f"{slower:.2f} times as long ({quiet:.2f} to {cost.during.median:.2f} s)",
            slower <= _LATENCY_BAR,
        ),
    ]


def _markdown(cost: Cost) -> str:
    steps = [(step, f"{seconds / 60:.1f}") for step, seconds in cost.steps.items()]
    periods = [("before", cost.before), ("during the night", cost.during), ("after", cost.after)]
    return "\n\n".join(
        (
            f"Measured on {cost.date}: {', '.join(f'{name} {value}' for name, value in cost.machine.items())}.",
            (
                f"{cost.images:,} labelled images, {cost.epochs} epochs of fine-tuning, the night ended {cost.state}; "
                f"its processes held {cost.peak:.0f} MB at most."
            ),
            table(
                ("bar", "bound", "measured", "verdict"),
                [(what, bound, said, "met" if met else "**missed**") for what, bound, said, met in _bars(cost)],
                left=4,
            ),
            table(("step", "minutes"), steps),
            table(
                ("the worker beside it", "images", "median s", "p95 s"),
                [(name, str(one.images), f"{one.median:.2f}", f"{one.p95:.2f}") for name, one in periods],
            ),
        )
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.night", description=__doc__)
    parser.add_argument("dataset", type=Path, help="the public collection, folder or zip")
    parser.add_argument("--epochs", type=int, default=4, help="of fine-tuning")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between images")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="where the installation lies")  # noqa: S108
    parser.add_argument("--keep", action="store_true", help="leave it there")
    parser.add_argument("--no-document", dest="out", action="store_false", help="write no figures into the document")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
