"""``lungwatch work``: one worker process."""

from __future__ import annotations

from typing import Annotated

import typer

from core import logging
from core.settings import load


def work(
    *,
    beat: Annotated[
        bool, typer.Option("--beat", help="Run beat in this process too; for one machine without a broker.")
    ] = False,
) -> None:
    """Classify what the listener received, until stopped.

    Start one for every two cores the machine has to spare. SIGTERM finishes the
    image in hand, gives the other claims back and ends with status 0; a
    second one ends at once, and claims come back when their leases end.
    """
    from worker.process import run  # noqa: PLC0415 - other commands need not load what decodes and classifies

    settings = load()
    logging.configure(settings)
    raise typer.Exit(run(settings, beat=beat))
