"""The listener's Prometheus endpoint: a process of its own, so that no scraper can reach the association path."""

from __future__ import annotations

import socket
from collections.abc import Callable

from core.metrics import endpoint
from dicom_listener.metrics.collector import ListenerCollector
from dicom_listener.metrics.counting import Metrics


def serve_metrics(listening: socket.socket, metrics: Metrics, stop: Callable[[float], bool]) -> None:
    """Show the listener's metrics, and its health (all association processes live), until told to stop.

    Parameters
    ----------
    listening : socket.socket
        Bound and listening; may be shared with processes that never accept from it.
    metrics : Metrics
        The listener's.
    stop : callable
        See `core.metrics.endpoint.serve`.
    """
    endpoint.serve(listening, [ListenerCollector(metrics)], lambda: metrics.healthy, stop)
