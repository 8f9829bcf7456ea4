"""``lungwatch beat``: the scheduler of timed work."""

from __future__ import annotations

import typer

from core import logging
from core.settings import load


def beat() -> None:
    """Ring for timed work (the daily reconciliation) until stopped.

    Needs a broker that crosses processes. On one machine without a broker,
    `lungwatch work --beat` does the same. A second beat changes nothing.
    """
    from worker.beat import run  # noqa: PLC0415 - other commands need not load Celery

    settings = load()
    logging.configure(settings)
    raise typer.Exit(run(settings))
