"""What a decoder may do to its process, for tests: named ``tests.integration.bad_readers:…`` as a helper's reader.

The accession number tells which object is the bad one; the others are read as they should be. A fault strikes
when the header has been told, as in decoding; ``header_…`` strike before, ``full_…`` only in a full
decode. Each start of a bad object leaves a line in ``starts`` beside the masters directory.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from imaging.instance import ReadingRules, read_instance
from imaging.reading import Attributes, Reading
from imaging.reasons import Rejection

MARK = b"LUNG_POISON"
Tell = Callable[[Attributes], None]


def starts(masters: Path) -> int:
    """How often a bad object was begun."""
    path = masters.parent / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _read(fault: Callable[[], None], path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    if MARK not in path.read_bytes():
        return read_instance(path, masters, rules, tell)
    _begun(masters)

    def told(attributes: Attributes) -> None:
        tell(attributes)
        fault()

    return read_instance(path, masters, rules, told)


def _begun(masters: Path) -> None:
    with (masters.parent / "starts").open("a") as log:
        log.write("start\n")


def _segfault() -> None:
    ctypes.string_at(0)


def _hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def _spin() -> None:
    while True:
        pass


def _explode() -> None:
    hoard = []
    while True:
        # reserved and not touched: the limit is on addresses, and touching takes time that counts against others
        hoard.append(np.empty(64 << 20, np.uint8))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_oddly() -> None:
    # a signal for programs' own use: it has no name
    os.kill(os.getpid(), signal.SIGRTMIN + 6)


def _raise() -> None:
    message = "a library quotes Phantom^Patient"
    raise RuntimeError(message)


def _babble() -> None:
    print("a library prints to standard output")  # noqa: T201 - that is the fault


# an accession number has at most 16 characters
BY_NAME = {"_SEGV": _segfault, "_KILL": _die, "_RAIS": _raise, "_HANG": _hang, "_SPIN": _spin, "_BOMB": _explode}


def each_its_own(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Does what the accession number says behind the mark."""
    content = path.read_bytes()
    for name, fault in BY_NAME.items():
        if MARK + name.encode() in content:
            return _read(fault, path, masters, rules, tell)
    return read_instance(path, masters, rules, tell)


def killed_once(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    if starts(masters):
        return read_instance(path, masters, rules, tell)
    return _read(_die, path, masters, rules, tell)


def dies_oddly(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    return _read(_die_oddly, path, masters, rules, tell)


def babbles(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    return _read(_babble, path, masters, rules, tell)


def header_hangs(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    if MARK in path.read_bytes():
        _begun(masters)
        _hang()
    return read_instance(path, masters, rules, tell)


def header_kills(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    if MARK in path.read_bytes():
        _begun(masters)
        _die()
    return read_instance(path, masters, rules, tell)


def full_killed(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Dies of a bad object when every pixel of it is asked for."""
    if rules.every_pixel:
        return _read(_die, path, masters, rules, tell)
    return read_instance(path, masters, rules, tell)


def full_hangs_once(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    if rules.every_pixel and not starts(masters):
        return _read(_hang, path, masters, rules, tell)
    return read_instance(path, masters, rules, tell)


def full_rejected(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    reading = read_instance(path, masters, rules, tell)
    if rules.every_pixel and MARK in path.read_bytes():
        return replace(reading, master=None, rejected=Rejection.DECODE_FAILED, detail="damaged in its finest level")
    return reading


def starts_a_child_and_hangs(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Start a program, as a library might, tell its number and what limits it has, and hang with it."""
    child = subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE)
    if child.stdout is None:
        raise RuntimeError
    (masters.parent / "child").write_bytes(child.stdout.readline())
    _hang()
    return read_instance(path, masters, rules, tell)


def exhausts_in_a_thread(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Let a thread of the helper run for ever, as a decoder with threads of its own might."""
    thread = threading.Thread(target=_spin, daemon=True)
    thread.start()
    thread.join()
    return read_instance(path, masters, rules, tell)


def hoards(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Keep 100 MB for every image that was ever read, as a library that leaks."""
    _HOARD.append(np.ones(100 << 20, np.uint8))
    return read_instance(path, masters, rules, tell)


def confesses(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Write down what the helper's process has imported and inherited."""
    about = {
        "modules": sorted(sys.modules),
        "environment": dict(os.environ),
        "descriptors": [str(one.readlink()) for one in list(Path("/proc/self/fd").iterdir()) if one.is_symlink()],
    }
    (masters.parent / "confession").write_text(json.dumps(about))
    return read_instance(path, masters, rules, tell)


def waits_for_the_bad(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """The bad object ends its helper; good ones are read only once it has begun, so both are in hand together."""
    while MARK not in path.read_bytes() and not starts(masters):
        time.sleep(0.01)
    return _read(_die, path, masters, rules, tell)


def falls_silent(path: Path, masters: Path, rules: ReadingRules, tell: Tell) -> Reading:
    """Close every descriptor, as a decoder that corrupts memory may, and live on."""
    os.closerange(0, 256)
    _hang()
    return read_instance(path, masters, rules, tell)


_HOARD: list[np.ndarray] = []
_CHILD = """
import os, resource, time
print(os.getpid(), *resource.getrlimit(resource.RLIMIT_AS), flush=True)
time.sleep(600)
"""
