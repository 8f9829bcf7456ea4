"""What a decoder may do to its process, for tests: named ``tests.integration.bad_readers:…`` as a helper's reader.

The body part tells which object is the bad one; the others are read as they should be.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from imaging.instance import ReadingRules, read_instance
from imaging.reading import Reading

MARK = b"LUNG_POISON"


def _is_bad(path: Path) -> bool:
    return MARK in path.read_bytes()


def segfault(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    if _is_bad(path):
        ctypes.string_at(0)
    return read_instance(path, masters, rules)


def hang(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    if _is_bad(path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    return read_instance(path, masters, rules)


def spin(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    while _is_bad(path):
        pass
    return read_instance(path, masters, rules)


def memory_bomb(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    if _is_bad(path):
        hoard = []
        while True:
            hoard.append(bytearray(64 << 20))
    return read_instance(path, masters, rules)


def killed(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    if _is_bad(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_instance(path, masters, rules)


def raises(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    if _is_bad(path):
        message = "a library quotes Phantom^Patient"
        raise RuntimeError(message)
    return read_instance(path, masters, rules)


def babbles(path: Path, masters: Path, rules: ReadingRules) -> Reading:
    if _is_bad(path):
        print("a library prints to standard output")  # noqa: T201 - that is the fault
    return read_instance(path, masters, rules)
