from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench import processes
from tests.waiting import wait_until

BURN = "import time; end = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"
# a child that burns and is waited for, a thread that has a child, then idleness
TREE = f"""
import subprocess, sys, threading, time
subprocess.run([sys.executable, "-c", {BURN.format(seconds=0.3)!r}])
threading.Thread(target=lambda: subprocess.run(["sleep", "60"])).start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def root() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process.pid
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def test_children_of_threads_belong_to_the_family(root: int) -> None:
    wait_until(lambda: len(processes.family(root)) == 2, 10, "the thread's child")
    assert processes.family(root)[0] == root


def test_processor_time_of_children_that_ended_counts(root: int) -> None:
    assert 0.28 <= processes.cpu_seconds(root) < 30


def test_shared_memory_counts_once_in_one_sum_alone(root: int) -> None:
    held = processes.memory(root)
    assert 1e6 < held.proportional < held.resident


def test_nothing_is_left_of_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert processes.family(process.pid) == []
    assert processes.cpu_seconds(process.pid) == 0
    assert processes.memory(process.pid) == processes.Memory(0, 0)
