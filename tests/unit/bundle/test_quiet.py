from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bundle.quiet import without_lines

ROOT = Path(__file__).resolve().parents[3]


def test_only_the_lines_named_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with without_lines(b"INFO: noise"):
        os.write(2, b"before\nINFO: noise of native code\n")
        thread = threading.Thread(target=os.write, args=(2, b"of another thread\n"))
        thread.start()
        thread.join()
        os.write(2, b"no end of line")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "before\nof another thread\nno end of line"
    os.write(2, b"INFO: noise later\n")
    assert capfd.readouterr().err == "INFO: noise later\n"


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def say_and_fail() -> None:
    with without_lines(b"x"):
        os.write(2, b"said\n")
        raise RuntimeError


def test_standard_error_comes_back_whatever_happens(capfd: pytest.CaptureFixture[str]) -> None:
    before = (os.fstat(2).st_ino, descriptors())
    with pytest.raises(RuntimeError):
        say_and_fail()
    assert (os.fstat(2).st_ino, descriptors()) == before
    assert capfd.readouterr().err == "said\n"


def test_a_closed_standard_error_is_no_reason_to_fail() -> None:
    program = (
        "import os, pathlib; os.close(2)\n"
        "from bundle.litert import LiteRTRuntime\n"
        "LiteRTRuntime(pathlib.Path('bundle/starter/model.tflite').read_bytes(), 1, 1, 2); print('up')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "up\n"


def test_bringing_up_the_starter_says_nothing() -> None:
    program = (
        "import os, pathlib\n"
        "from bundle.litert import LiteRTRuntime\n"
        "for _ in range(2):\n"
        "    LiteRTRuntime(pathlib.Path('bundle/starter/model.tflite').read_bytes(), 1, 1, 2)\n"
        "    os.write(2, b'ours\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "ours\nours\n"
