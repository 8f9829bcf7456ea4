"""A worker's Prometheus endpoint: threads beside its work, of which no scraper can make much.

Several workers run on one host, so each takes the first port that is free from
the one that is set. An endpoint that cannot be had is logged and done without:
no worker stands still for want of being watched.
"""

from __future__ import annotations

import socket
import threading
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.clock import SystemClock
from core.errors import Misconfigured
from core.metrics import endpoint
from core.ports import PortTaken, listen_at
from core.settings import Settings
from worker.metrics.figures import Figures
from worker.metrics.ledger import LedgerCollector

log = logging.get(__name__)

# workers a host that each find a port
PORTS: Final = 32
_LAST_PORT: Final = 65535
# an answer takes this process milliseconds: whoever asks without end gets no more than a small share of it
_PAUSE_SECONDS: Final = 0.05


def start(
    settings: Settings, figures: Figures, readers: sessionmaker[Session], stopping: threading.Event
) -> int | None:
    """Serve a worker's figures, and the ledger's, until `stopping` is set; return the port, None where there is none.

    ``/healthz`` answers 200 while the worker can work, else 503.
    """
    listening = bind(settings)
    if listening is None:
        return None
    port: int = listening.getsockname()[1]
    collectors = [figures, LedgerCollector(readers, SystemClock())]
    threading.Thread(
        target=endpoint.serve,
        args=(listening, collectors, lambda: figures.well, stopping.wait),
        kwargs={"pause_seconds": _PAUSE_SECONDS},
        name="metrics",
        daemon=True,
    ).start()
    log.info("metrics_served", host=settings.metrics_host, port=port)
    return port


def bind(settings: Settings) -> socket.socket | None:
    """Bind and listen at the first port that is free; None where none is, or none is wanted."""
    first = settings.worker_metrics_port
    if first is None:
        return None
    # a listener that starts after us must find its own
    kept = {settings.listen_port, settings.tls_port, settings.listener_metrics_port} - {0, None}
    refusal = f"all ports from {first} on are the listener's"
    for port in range(first, min(first + (PORTS if first else 1), _LAST_PORT + 1)):
        if port in kept:
            continue
        try:
            return listen_at(settings.metrics_host, port, "LUNGWATCH_METRICS_HOST", "LUNGWATCH_WORKER_METRICS_PORT")
        except PortTaken as error:
            refusal = str(error)
        except Misconfigured as error:
            # no other port would be better
            refusal = str(error)
            break
    log.warning("metrics_not_served", problem=refusal)
    return None
