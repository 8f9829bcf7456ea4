"""The ``work`` process: helpers first, then the engine, then Celery; one owner of the signals."""

from __future__ import annotations

import threading
from typing import Final

from sqlalchemy import Engine as DatabaseEngine

from bundle.signing import trusted_keys
from core import celery, logging
from core.celery import Queue
from core.clock import SystemClock
from core.errors import TransientFailure
from core.logging import safe_error
from core.settings import Settings
from core.signals import StopSignals
from db.base import make_engine, make_readers, make_sessions
from db.migrate import check
from db.single_host import wait_for_sole_use
from worker import serving, tasks
from worker.audit import audit_key
from worker.backoff import backoff
from worker.champion import ChampionWatch
from worker.commitment.reporter import Reporter
from worker.doorbell import Doorbell, start_embedded_beat
from worker.engine import Engine
from worker.lanes import Lanes
from worker.metrics import endpoint
from worker.metrics.figures import Figures
from worker.metrics.measured import measured
from worker.nightly import Nights
from worker.pipeline import Journey
from worker.rescoring.rescorer import Rescorer

log = logging.get(__name__)

_LOOK_SECONDS: Final = 0.1
# a report under way that takes longer is told again by whoever claims it next
_REPORT_SECONDS: Final = 10.0


def run(settings: Settings, *, beat: bool = False) -> int:
    """Work until SIGTERM or SIGINT; then finish the image in hand, give the other claims back and return 0.

    Parameters
    ----------
    settings : Settings
        Of this process.
    beat : bool
        Run beat too; for a machine without a broker, where nothing else could.

    Raises
    ------
    Misconfigured
        If a configured key cannot be read, the ledger's schema is missing or not this program's, or SQLite is in use
        on another host.
    """
    # refused here, not at the first bundle that needs it
    trusted_keys(settings)
    signals = StopSignals()
    database = make_engine(settings)
    if not wait_for_schema(database, signals):
        return 0
    audit_key(settings)
    stopping, bell = threading.Event(), threading.Event()
    sessions = make_sessions(database)
    figures = Figures()
    lanes = Lanes(settings, figures=figures)
    # before anything imports TensorFlow
    lanes.warm()
    clock = SystemClock()
    champion = ChampionWatch(
        sessions,
        open_bundle=lambda wanted: measured(serving.open_bundle(settings, wanted), figures),
        install_starter=lambda session: serving.install_starter(settings, session),
        poll_seconds=settings.champion_poll_seconds,
        clock=clock,
    )
    engine = Engine(
        settings,
        sessions=sessions,
        journey=Journey(settings, sessions, lanes, figures=figures),
        rescorer=Rescorer(settings, sessions, clock),
        champion=champion,
        bell=bell,
        stopping=stopping,
        clock=clock,
        figures=figures,
    )
    endpoint.start(settings, figures, make_readers(database), stopping)
    working = threading.Thread(target=engine.run, name="engine")
    working.start()
    # a thread of its own: a peer that does not answer must not delay an image
    reporter = Reporter(settings, sessions=sessions, readers=make_readers(database), stopping=stopping)
    reporting = threading.Thread(target=reporter.run, name="commitment", daemon=True)
    reporting.start()
    nights = Nights(settings, make_readers(database), SystemClock())
    doorbell = _listen_for_bells(settings, database, bell, nights, beat=beat)
    while working.is_alive() and not signals.wait(_LOOK_SECONDS):
        pass
    log.info("stopping")
    stopping.set()
    bell.set()
    doorbell.stop()
    nights.stop()
    while working.is_alive():
        working.join(_LOOK_SECONDS)
        # an impatient second signal ends it here
        signals.wait(0.0)
    reporting.join(_REPORT_SECONDS)
    lanes.close()
    database.dispose()
    return 0


def wait_for_schema(database: DatabaseEngine, signals: StopSignals) -> bool:
    """Wait until the ledger answers and check its schema; False if told to stop before.

    Raises
    ------
    Misconfigured
        If the schema is missing or not this program's, or SQLite is in use on another host.
    """
    for pause in backoff(0.5, 10.0):
        try:
            check(database)
            if not wait_for_sole_use(database, signals.wait):
                return False
        except TransientFailure as error:
            log.warning("ledger_awaited", **safe_error(error))
            if signals.wait(pause):
                return False
        else:
            return True
    return False


def _listen_for_bells(
    settings: Settings, database: DatabaseEngine, bell: threading.Event, nights: Nights, *, beat: bool
) -> Doorbell:
    app = celery.make_app(settings)
    if settings.nightly_hour is not None and not nights.here:
        log.info("nights_elsewhere", hint="this worker has no LUNGWATCH_SIGNING_KEY_FILE, so it starts no night")
    tasks.bind(app, tasks.Context(settings, database, bell, nights))
    queues = [Queue.CLASSIFY, Queue.MAINTENANCE]
    doorbell = Doorbell(app, [*queues, Queue.TRAINING] if nights.here else queues)
    doorbell.start()
    if beat:
        start_embedded_beat(app, settings)
    return doorbell
