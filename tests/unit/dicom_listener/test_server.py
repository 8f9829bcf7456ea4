from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator

import psutil
import pytest

from core.parent_death import die_with
from core.settings import Settings
from dicom_listener.server import Server
from tests.waiting import wait_until


def refusing(times: int) -> Callable[[], int]:
    """Return a fork that the system refuses so many times; none of a user who is root can be made to."""
    left, fork = [None] * times, os.fork

    def refused() -> int:
        if left:
            left.pop()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    return refused


@pytest.fixture
def server(make_settings: Callable[..., Settings]) -> Iterator[psutil.Process]:
    """A listener of two association processes, of whose forks the first three are refused."""
    settings, parent = make_settings(listener_processes=2, listener_metrics_port=None), os.getpid()
    pid = os.fork()
    if not pid:
        try:
            die_with(parent)
            os.fork = refusing(3)
            os._exit(Server(settings).run(lambda _: None))
        finally:
            os._exit(1)
    yield psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_fork_that_fails_is_tried_again_and_ends_nobody(server: psutil.Process) -> None:
    wait_until(lambda: len(server.children()) == 2, 20, "both processes are started in the end")
    server.terminate()
    wait_until(lambda: server.status() == psutil.STATUS_ZOMBIE, 20, "a stop is still heard")
    assert server.children() == []
