"""The Celery app and the names of its queues. Tasks register themselves with `shared_task` where they live.

A message is a doorbell: it says that there is work and carries at most an
opaque id. The ledger alone knows what the work is, so a message lost, doubled
or delayed costs seconds and never a study (docs/decisions/0003-doorbells.md).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from celery import Celery
from celery.schedules import crontab

from core.errors import Misconfigured

if TYPE_CHECKING:
    from core.settings import Settings


class Queue(StrEnum):
    """Queues, by what their bell announces."""

    CLASSIFY = "classify"
    DELIVER = "deliver"
    MAINTENANCE = "maintenance"
    TRAINING = "training"


RING_CLASSIFY: Final = "lungwatch.classify"
RECONCILE: Final = "lungwatch.reconcile"
RETENTION: Final = "lungwatch.retention"
NIGHTLY: Final = "lungwatch.nightly"

# A publish must give up well inside promise 3's six seconds, whatever the broker does.
_SOCKET_SECONDS: Final = 2.0
_REDIS: Final = {
    "socket_timeout": _SOCKET_SECONDS,
    "socket_connect_timeout": _SOCKET_SECONDS,
    "socket_keepalive": True,
    "visibility_timeout": 3600,
}
_RABBITMQ: Final = {
    "confirm_publish": True,
    "connect_timeout": _SOCKET_SECONDS,
    "read_timeout": _SOCKET_SECONDS,
    "write_timeout": _SOCKET_SECONDS,
}
# with and without TLS
_TRANSPORT_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "redis": _REDIS,
    "rediss": _REDIS,
    "amqp": _RABBITMQ,
    "amqps": _RABBITMQ,
}


def broker_url(settings: Settings) -> str:
    """Return the broker's URL in force, its password taken from a file where one is named.

    Raises
    ------
    Misconfigured
        If that file cannot be read.
    """
    url = settings.broker_url.get_secret_value()
    if settings.broker_password_file is None:
        return url
    try:
        password = settings.broker_password_file.read_text().strip()
    except OSError:
        message = f"LUNGWATCH_BROKER_PASSWORD_FILE cannot be read: {settings.broker_password_file}"
        raise Misconfigured(message) from None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{host}"))


def _schedule(settings: Settings) -> dict[str, Any]:
    """Return what beat rings for; whoever hears it asks the ledger whether there is anything to do."""
    rings: dict[str, Any] = {
        "reconcile-daily": {"task": RECONCILE, "schedule": crontab(hour=str(settings.reconcile_hour), minute="0")},
        "retention-daily": {"task": RETENTION, "schedule": crontab(hour=str(settings.retention_hour), minute="0")},
    }
    if settings.nightly_hour is not None:
        # not once a night: a night that was killed is gone on with at the next ring, and a lost message costs minutes
        rings["nightly"] = {"task": NIGHTLY, "schedule": crontab(minute="*/5"), "options": {"expires": 240}}
    return rings


def make_app(settings: Settings) -> Celery:
    """Build the app for one process; the caller hands it to a worker, beat or a publisher."""
    url = broker_url(settings)
    app = Celery("lungwatch", broker=url, set_as_current=True)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_default_queue=Queue.CLASSIFY.value,
        task_routes={
            RING_CLASSIFY: {"queue": Queue.CLASSIFY.value},
            RECONCILE: {"queue": Queue.MAINTENANCE.value},
            RETENTION: {"queue": Queue.MAINTENANCE.value},
            NIGHTLY: {"queue": Queue.TRAINING.value},
        },
        worker_pool="solo",
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_SOCKET_SECONDS,
        broker_transport_options=_TRANSPORT_OPTIONS.get(url.partition(":")[0], {}),
        task_publish_retry=False,
        # the hours below are local ones (TZ); with UTC on, crontab would take them for UTC
        enable_utc=False,
        beat_schedule=_schedule(settings),
        imports=("worker.tasks",),
    )
    return app
