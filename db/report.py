"""How things stand: counts, ages, processes, the model in service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.backlog import Waiting, backlog
from db.models.commitment import Commitment
from db.models.model import Heartbeat, ModelVersion
from db.models.receipt import Receipt
from db.models.study import Study
from db.nightly_runs import newest
from db.registry import champion
from db.settling import in_charge
from db.vocabulary import TERMINAL, CommitmentState, NightState, NightStep, Outcome, ProcessKind, ReceiptState, Urgency
from db.worker_figures import WorkerFigures, from_json

# a process that has been silent for longer is history; one that did not stop in good order stands longer
_RECENT: Final = timedelta(days=1)
_RECENT_DEATH: Final = timedelta(days=7)
_MOST_PROCESSES: Final = 200
_WEEK: Final = timedelta(days=7)
_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process's last sign of life.

    Attributes
    ----------
    seen_seconds : float
        Age of its last beat by the database's clock.
    stopped_at : datetime or None
        Set by an orderly stop.
    horizon_seconds : float or None
        REGISTRAR: age of the newest time before which all is registered.
    model : str or None
        WORKER: name and version of what it serves.
    figures : WorkerFigures or None
        WORKER: what it did lately; None where its release says none.
    """

    kind: ProcessKind
    host: str
    pid: int
    listener: str | None
    started_at: datetime
    seen_at: datetime
    seen_seconds: float
    stopped_at: datetime | None
    horizon_seconds: float | None
    model: str | None
    problem: str | None
    figures: WorkerFigures | None = None


@dataclass(frozen=True, slots=True)
class ChampionRow:
    """The model in service."""

    name: str
    version: str
    since: datetime
    fencing_token: int


@dataclass(frozen=True, slots=True)
class CommitmentCounts:
    """Requests for storage commitment.

    Attributes
    ----------
    waiting : int
        Not reported yet.
    oldest_waiting_seconds : float or None
        Age since it was received.
    reported, given_up : int
        Ended within a week.
    """

    waiting: int = 0
    oldest_waiting_seconds: float | None = None
    reported: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class NightRow:
    """The newest night.

    Attributes
    ----------
    step : NightStep
        Under way, or the last one.
    held : bool
        Whether somebody is at it.
    begun_seconds : float
        Since its first start.
    """

    night: date
    state: NightState
    step: NightStep
    held: bool
    begun_seconds: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The ledger at one moment.

    Attributes
    ----------
    at : datetime
        The database's clock.
    receipts : dict
        Receipts by state, every state named: those PENDING, and those that came to their end within a day.
    terminal, pending, overdue : int
        Of these.
    oldest_pending_seconds : float or None
        Age since it was received; the alarm that needs no broker.
    studies : dict
        Studies first received within a day by outcome, every outcome named.
    unsettled : int
        Studies whose present revision is open.
    flagged : int
        Rows that wait for a reader.
    quarantined : dict
        Quarantined receipts by reason.
    champion : ChampionRow or None
        None before the first model was installed.
    processes : tuple of ProcessRow
        Those seen within a day, or within a week and never stopped, and however old a registrar that settling
        waits for; newest first.
    commitments : CommitmentCounts
    rescoring : int
        Images that wait for the champion to score them again.
    waiting : dict
        What is pending by urgency, every urgency named.
    night : NightRow or None
        None before the first.
    """

    at: datetime
    receipts: dict[ReceiptState, int]
    terminal: int
    pending: int
    overdue: int
    oldest_pending_seconds: float | None
    studies: dict[Outcome, int]
    unsettled: int
    flagged: int
    quarantined: dict[str, int]
    champion: ChampionRow | None
    processes: tuple[ProcessRow, ...]
    commitments: CommitmentCounts = CommitmentCounts()
    rescoring: int = 0
    waiting: dict[Urgency, Waiting] = field(default_factory=dict)
    night: NightRow | None = None


def status(session: Session) -> StatusReport:
    """Return how things stand; use a reader, so that all numbers are of one moment.

    Nothing here reads the whole ledger: what is open is few, and what is done counts for a day.
    `lungwatch reconcile` counts all of it.
    """
    waits = backlog(session)
    now = waits.at
    finished = select(Receipt.state, func.count()).where(
        Receipt.finished_at > now - _RECENT,
        # says nothing more, a policy keeps files for a day at least, and it is the index's own condition
        Receipt.removed_at.is_(None),
    )
    studies = select(Study.outcome, func.count()).where(Study.first_received_at > now - _RECENT)
    receipts = dict.fromkeys(ReceiptState, 0) | _counts(session, finished, Receipt.state)
    receipts[ReceiptState.PENDING] = waits.pending
    reign = champion(session)
    return StatusReport(
        at=now,
        receipts=receipts,
        terminal=sum(receipts[state] for state in TERMINAL),
        pending=waits.pending,
        overdue=waits.overdue,
        oldest_pending_seconds=waits.oldest_seconds,
        studies=dict.fromkeys(Outcome, 0) | _counts(session, studies, Study.outcome),
        unsettled=waits.unsettled,
        flagged=waits.flagged,
        quarantined=waits.quarantined,
        champion=None
        if reign is None
        else ChampionRow(reign.model.name, reign.model.version, reign.since, reign.fencing_token),
        processes=_processes(session, now),
        commitments=_commitments(session, now),
        rescoring=waits.rescoring,
        waiting=waits.waiting,
        night=_night(session, now),
    )


def _night(session: Session, now: datetime) -> NightRow | None:
    found = next(iter(newest(session, 1)), None)
    if found is None:
        return None
    return NightRow(
        night=found.night,
        state=found.state,
        step=found.step,
        held=found.state is NightState.RUNNING and found.lease_until >= now,
        begun_seconds=(now - found.started_at).total_seconds(),
        reason=found.reason,
    )


def _commitments(session: Session, now: datetime) -> CommitmentCounts:
    pending = Commitment.state == CommitmentState.PENDING
    counts = _counts(
        session,
        select(Commitment.state, func.count()).where(or_(pending, Commitment.finished_at > now - _WEEK)),
        Commitment.state,
    )
    oldest = session.scalar(select(func.min(Commitment.received_at)).where(pending))
    return CommitmentCounts(
        waiting=counts.get(CommitmentState.PENDING, 0),
        oldest_waiting_seconds=_age(now, oldest),
        reported=counts.get(CommitmentState.REPORTED, 0),
        given_up=counts.get(CommitmentState.GAVE_UP, 0),
    )


def _counts(session: Session, query: Select[_Word, int], by: InstrumentedAttribute[Any]) -> dict[_Word, int]:
    rows = session.execute(query.group_by(by).order_by(func.count().desc(), by))
    return {word: count for word, count in rows}  # noqa: C416 - a result has keys(): dict() would take it for a mapping


def _processes(session: Session, now: datetime) -> tuple[ProcessRow, ...]:
    recent = (
        select(Heartbeat.id)
        .where(
            or_(
                Heartbeat.seen_at > now - _RECENT,
                and_(Heartbeat.stopped_at.is_(None), Heartbeat.seen_at > now - _RECENT_DEATH),
            )
        )
        .order_by(Heartbeat.id.desc())
        .limit(_MOST_PROCESSES)
    )
    rows = session.execute(
        select(Heartbeat, ModelVersion.name, ModelVersion.version)
        .outerjoin(ModelVersion, ModelVersion.id == Heartbeat.model_version_id)
        .where(or_(Heartbeat.id.in_(recent), in_charge()))
        .order_by(Heartbeat.id.desc())
    )
    return tuple(
        ProcessRow(
            kind=beat.kind,
            host=beat.host,
            pid=beat.pid,
            listener=beat.listener,
            started_at=beat.started_at,
            seen_at=beat.seen_at,
            seen_seconds=(now - beat.seen_at).total_seconds(),
            stopped_at=beat.stopped_at,
            horizon_seconds=_age(now, beat.horizon),
            model=_model(name, version),
            problem=beat.problem,
            figures=from_json(beat.figures),
        )
        for beat, name, version in rows
    )


def _age(now: datetime, then: datetime | None) -> float | None:
    return None if then is None else (now - then).total_seconds()


def _model(name: str | None, version: str | None) -> str | None:
    return None if name is None else f"{name} {version}"
