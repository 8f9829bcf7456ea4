"""The ``beat`` process: rings for timed work. Due work is claimed in the ledger, so a second beat changes nothing."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import celery, logging
from core.clock import SystemClock
from core.errors import Misconfigured
from core.logging import safe_error
from core.settings import Settings
from core.signals import StopSignals
from db.base import make_engine, make_sessions
from db.heartbeats import Heart
from db.vocabulary import ProcessKind
from worker.doorbell import start_embedded_beat

log = logging.get(__name__)


def run(settings: Settings) -> int:
    """Ring until SIGTERM or SIGINT, and return 0; with status 1 if beat ended by itself.

    Raises
    ------
    Misconfigured
        Without a broker: nobody in another process could hear it.
    """
    if not settings.has_broker:
        message = "beat has nobody to ring on memory://; set LUNGWATCH_BROKER_URL, or run `lungwatch work --beat`"
        raise Misconfigured(message)
    signals = StopSignals()
    database = make_engine(settings)
    sessions = make_sessions(database)
    heart = Heart(ProcessKind.BEAT, SystemClock())
    service = start_embedded_beat(celery.make_app(settings), settings)
    log.info("beat_started")
    while service.is_alive() and not signals.came:
        _tell(sessions, heart)
        signals.wait(settings.heartbeat_seconds)
    if not signals.came:
        log.error("beat_ended")
        return 1
    _tell(sessions, heart, stopped=True)
    database.dispose()
    log.info("beat_stopped")
    return 0


def _tell(sessions: sessionmaker[Session], heart: Heart, *, stopped: bool = False) -> None:
    try:
        with sessions.begin() as session:
            heart.beat(session)
            if stopped:
                heart.stop(session)
    except SQLAlchemyError as error:
        # beat needs no ledger; its heartbeat is all that is missed
        log.warning("heartbeat_missed", **safe_error(error))
