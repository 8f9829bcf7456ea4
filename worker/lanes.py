"""The lanes of a worker: threads that read files, each with a helper process of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from core.settings import Settings
from worker.decode_process import DEFAULT_READER
from worker.helpers import Helpers
from worker.metrics.figures import Figures

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """As many lanes as there are helper processes.

    A helper dies with the thread that started it, so its thread is what it belongs to.

    Parameters
    ----------
    settings : Settings
        How many, and the helpers' limits.
    reader : str
        What the helpers run, ``module:function``; tests put a bad one here.
    figures : Figures, optional
        Where helpers are counted.
    """

    def __init__(self, settings: Settings, reader: str = DEFAULT_READER, figures: Figures | None = None) -> None:
        self.count = settings.helper_processes
        self.helpers = Helpers(settings, reader, figures)
        self._threads = ThreadPoolExecutor(self.count, "lane", initializer=self.helpers.warm)

    def warm(self) -> None:
        """Start every lane's helper; before TensorFlow is imported in this process."""
        together = threading.Barrier(self.count)
        for started in [self._threads.submit(together.wait) for _ in range(self.count)]:
            started.result()

    def submit(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Let the next free lane do something; it may ask its helper."""
        return self._threads.submit(work, *arguments, **named)

    def close(self) -> None:
        """Stop helpers and lanes; what a lane was reading fails and is not recorded."""
        self.helpers.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.helpers.close()
