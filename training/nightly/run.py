"""One night; read this first.

=========  ==========================  ===============================================
step       where                       durable afterwards
=========  ==========================  ===============================================
claim      `db.nightly_runs`           the night's row: token, lease, attempt
SNAPSHOT   `preparing`, `snapshot`     labels that follow the verdicts, the snapshot, what the night does
TRAIN      `challenger`                epochs; then a signed bundle, and its row in the registry
EXAMINE    `examining`                 answers and figures of champion, challenger and anchor
DRIFT      `drift`                     what was measured of it
DECIDE     `deciding`, `gate`          the decision, with every finding
PROMOTE    `promoting`, `promotion`    one compare-and-swap of the champion, or none
REPORT     `telling`, `report`         the report; then the night's end
=========  ==========================  ===============================================

A night may be killed anywhere and is gone on with by whoever claims it next:
what is durable is not done again. Each write holds the night's row by its token
(`db.nightly_runs.note`), the swap of the champion too, so a holder that
was stopped past its lease changes nothing any more (promise 11).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from core import failpoints, logging
from core.errors import LungwatchError, TransientFailure
from db import nightly_runs as runs
from db.models.model import ModelVersion
from db.nightly_runs import NightLost
from db.registry import ChampionMoved, champion
from db.vocabulary import ExaminedOn, NightKind, NightState, NightStep
from training.datasets.patients import Split
from training.drawing import require_matplotlib
from training.errors import FitFailed
from training.nightly import challenger, telling
from training.nightly.challenger import Fit
from training.nightly.deciding import judge
from training.nightly.drift.look import look
from training.nightly.drift.reference import ensure_reference
from training.nightly.drift.result import Drift
from training.nightly.examining import Pictures, ask_all, keep, note
from training.nightly.gate.decision import Decision
from training.nightly.keeping import LEASE_SECONDS, Keeper
from training.nightly.preparing import prepare
from training.nightly.promoting import after_shadow, promote
from training.nightly.report.night import Role
from training.nightly.snapshot.manifest import Manifest
from training.nightly.snapshot.material import material
from training.nightly.snapshot.recent import recent
from training.nightly.tonight import OutOfTime, Stopped, Tonight
from training.nightly.under_way import Ending, UnderWay

log: Final = logging.get(__name__)

_HOUR: Final = 3600.0


def run(tonight: Tonight, lease_seconds: float = LEASE_SECONDS, *, again: bool = False) -> Ending | None:
    """Do a night, or go on with it. Safe to repeat, to run twice at once, to stop and to kill.

    Parameters
    ----------
    again : bool
        Do one that has failed, too.

    Returns
    -------
    Ending or None
        None where somebody else holds the night or it has ended. RUNNING where it is to be gone on with.
    """
    with tonight.sessions.begin() as session:
        runs.end_abandoned(session, tonight.night)
        held = runs.claim(session, tonight.night, lease_seconds, again=again)
    if held is None:
        return None
    failpoints.reach("nightly.claimed")
    log.info("night_begun", night=tonight.night.isoformat(), attempt=held.attempt)
    left = tonight.settings.nightly_hours * _HOUR - held.seconds
    until = tonight.clock.monotonic() + left
    night = UnderWay(tonight, held)
    with Keeper(held, tonight.sessions, tonight.clock, until, tonight.stopping, lease_seconds) as keeper:
        try:
            ending = _ending(night, keeper)
        except NightLost as lost:
            log.error("night_lost", night=tonight.night.isoformat())  # noqa: TRY400 - says it all
            return Ending(NightState.RUNNING, str(lost))
    log.info("night_ended", night=tonight.night.isoformat(), state=ending.state.value)
    return ending


def _ending(night: UnderWay, keeper: Keeper) -> Ending:
    """Go through the steps and end the night, however they come out."""
    settings, held = night.tonight.settings, night.held
    try:
        require_matplotlib()
        if held.attempt > settings.nightly_attempts:
            raise FitFailed(f"the night was started {settings.nightly_attempts} times and never came to its end")
        ending = _steps(night, keeper)
    except Stopped as stopped:
        with night.tonight.sessions.begin() as session:
            runs.give_back(session, held, counted=False)
        return Ending(NightState.RUNNING, str(stopped))
    except OutOfTime as over:
        row = night.row()
        if row.work is not None and row.challenger_id is None:
            ending = Ending(NightState.CONTINUES, f"{over}; the fit goes on the next night")
        else:
            ending = Ending(NightState.FAILED, f"{over}; raise LUNGWATCH_NIGHTLY_HOURS")
    except NightLost:
        raise
    except TransientFailure:
        # a disk or ledger that is away may soon be back
        with suppress(NightLost, SQLAlchemyError), night.tonight.sessions.begin() as session:
            runs.give_back(session, held, counted=True)
        raise
    except ChampionMoved as moved:
        ending = Ending(NightState.KEPT, str(moved))
    except LungwatchError as error:
        ending = Ending(NightState.FAILED, str(error))
    return _report(night, ending)


def _steps(night: UnderWay, keeper: Keeper) -> Ending:
    manifest = prepare(night)
    keeper.check()
    if night.row().kind is not NightKind.EVALUATE:
        _train(night, keeper, manifest)
    _examine(night, keeper, manifest)
    drift = _drift(night)
    keeper.check()
    if night.row().challenger_id is None:
        return after_shadow(night, drift) or Ending(NightState.EVALUATED, night.row().plan or "")
    decision = _decide(night)
    return promote(night, decision, drift)


def _train(night: UnderWay, keeper: Keeper, manifest: Manifest) -> None:
    row = night.row()
    if row.challenger_id is not None:
        return
    if row.kind is None or row.work is None or row.champion_id is None:
        raise FitFailed("the night's row does not say what to train; it was changed by hand")
    with night.step(NightStep.TRAIN):
        with night.tonight.readers() as session:
            parent = session.get_one(ModelVersion, row.champion_id)
        made = challenger.train(night.tonight, keeper, Fit(row.kind, row.work, manifest, parent))
        failpoints.reach("nightly.trained")
        night.note(challenger_id=made)


def _examine(night: UnderWay, keeper: Keeper, manifest: Manifest) -> None:
    tonight = night.tonight
    with night.step(NightStep.EXAMINE):
        night.models = _models(night)
        night.manifest = manifest
        found = material(tonight.settings, manifest)
        weeks = tonight.now - timedelta(weeks=tonight.settings.nightly_recent_weeks)
        with tonight.readers() as session:
            reviewed = recent(session, manifest, weeks)
        sets = (
            Pictures(ExaminedOn.TEST, found.dataset, found.assignment.items[Split.TEST]),
            Pictures(ExaminedOn.RECENT, found.dataset, found.items(reviewed)),
        )
        for pictures in sets:
            asked = ask_all(tonight.settings, night.models, pictures, keeper)
            night.pictures[pictures.examined_on], night.asked[pictures.examined_on] = pictures, asked
            keep(tonight.folder, pictures, asked)
            failpoints.reach("nightly.examined")
            with tonight.sessions.begin() as session:
                runs.note(session, night.held, step=NightStep.EXAMINE)
                note(session, night.row(), pictures, asked, night.models)


def _models(night: UnderWay) -> dict[Role, ModelVersion]:
    row = night.row()
    with night.tonight.readers() as session:
        reign = champion(session)
        found = {Role.CHAMPION: session.get_one(ModelVersion, row.champion_id)}
        if reign is not None:
            found[Role.ANCHOR] = session.get_one(ModelVersion, reign.anchor_id)
        if row.challenger_id is not None:
            found[Role.CHALLENGER] = session.get_one(ModelVersion, row.challenger_id)
    return found


def _drift(night: UnderWay) -> Drift:
    with night.step(NightStep.DRIFT):
        stored = night.row().drift
        if stored is not None:
            return Drift.model_validate(stored)
        today = night.tonight.now.date()
        ensure_reference(night.tonight.settings, night.tonight.sessions, today)
        found = look(night.tonight.settings, night.tonight.readers, today)
        night.note(drift=found.model_dump(mode="json", exclude_none=True))
        return found


def _decide(night: UnderWay) -> Decision:
    with night.step(NightStep.DECIDE):
        stored = night.row().decision
        if stored is not None:
            return Decision.model_validate(stored)
        with night.tonight.readers() as session:
            former = runs.last_decided(session, night.tonight.night)
            decision = judge(night, session, former)
        failpoints.reach("nightly.judged")
        night.note(decision=decision.model_dump(mode="json", exclude_none=True))
    failpoints.reach("nightly.decided")
    return decision


def _report(night: UnderWay, ending: Ending) -> Ending:
    """Write the report and end the night; a report that cannot be written is said, and ends no other way."""
    with night.step(NightStep.REPORT):
        reason = ending.reason
        try:
            telling.write(night, ending)
            night.note(report=str(night.tonight.folder.relative_to(night.tonight.settings.data_dir.resolve())))
        except NightLost:
            raise
        except (LungwatchError, OSError) as error:
            log.error("report_not_written", **logging.safe_error(error))  # noqa: TRY400 - says it all
            reason = f"{reason} (The report could not be written; look at the log.)"
        failpoints.reach("nightly.reported")
    with night.tonight.sessions.begin() as session:
        runs.finish(session, night.held, ending.state, reason)
    failpoints.reach("nightly.finished")
    return Ending(ending.state, reason)
