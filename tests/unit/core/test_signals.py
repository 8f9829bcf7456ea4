import os
import signal
import subprocess
import sys
import threading

import pytest

from core.signals import SignalMailbox
from tests.waiting import wait_until

PATIENT = """
import sys
from core.signals import StopSignals
signals = StopSignals()
print("ready", flush=True)
while not signals.wait(0.05):
    pass
print("stopping", flush=True)
for line in sys.stdin:
    signals.wait(0.0)
sys.exit(0)
"""


def test_a_signal_is_waited_for_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with SignalMailbox([signal.SIGUSR1]) as mailbox:
        assert mailbox.next(0.0) is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert mailbox.next(10.0) is signal.SIGUSR1
        assert mailbox.next(0.0) is None
    assert signal.getsignal(signal.SIGUSR1) is before


def test_signals_of_others_are_passed_over() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    try:
        with SignalMailbox([signal.SIGUSR1]) as mailbox:
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert mailbox.next(10.0) is signal.SIGUSR1
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_another_thread_may_take_the_signal() -> None:
    # the kernel gives a process's signal to any thread that does not block it; sigtimedwait would miss it
    release = threading.Event()
    other = threading.Thread(target=release.wait)
    other.start()
    with SignalMailbox([signal.SIGUSR1]) as mailbox:
        assert other.ident is not None
        signal.pthread_kill(other.ident, signal.SIGUSR1)
        assert mailbox.next(10.0) is signal.SIGUSR1
    release.set()
    other.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_signals_at_once_are_one_wish(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        process.send_signal(number)
        assert process.stdout.readline() == "stopping\n"
        process.stdin.write("look\n")
        process.stdin.close()
        wait_until(lambda: process.poll() is not None, 10, "it ends")
    assert process.returncode == 0
