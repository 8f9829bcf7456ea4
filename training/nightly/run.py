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
what is durable is not done again. What a night decides is written holding its row
by the token (`db.nightly_runs.note`): its columns, figures, decision, and the swap of the champion,
so a holder that was stopped past its lease decides nothing any more (promise 11). What is
written besides is the same whoever writes it (labels, snapshot, bundle), or lies in the start's own folder.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from core import failpoints, logging
from core.errors import LungwatchError, TransientFailure
from db import nightly_runs as runs
from db.models.model import ModelVersion
from db.nightly_runs import NightLost
from db.registry import ChampionMoved
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
    try:
        ending = _steps(night, keeper)
    except NightLost:
        raise
    except Exception as error:  # noqa: BLE001 - the edge: whatever it was is on record in the end
        ending = _broken_off(night, error)
    if ending.state is NightState.RUNNING:
        return ending
    if (why := night.swapped()) is not None:
        # whatever became of it afterwards, its challenger is in service
        ending = Ending(NightState.PROMOTED, why)
    return _report(night, ending)


def _broken_off(night: UnderWay, error: Exception) -> Ending:
    """Say how a night ends that was broken off; raise again what the next start may find mended."""
    match error:
        case Stopped():
            _give_back(night, counted=False)
            return Ending(NightState.RUNNING, str(error))
        case OutOfTime():
            row = night.row()
            if row.work is not None and row.challenger_id is None:
                return Ending(NightState.CONTINUES, f"{error}; the fit goes on the next night")
            return Ending(NightState.FAILED, f"{error}; raise LUNGWATCH_NIGHTLY_HOURS")
        case ChampionMoved():
            return Ending(NightState.KEPT, str(error))
        case LungwatchError() if not isinstance(error, TransientFailure):
            return Ending(NightState.FAILED, str(error))
    described = logging.safe_error(error)
    log.error("night_broken_off", night=night.tonight.night.isoformat(), attempt=night.held.attempt, **described)
    if night.held.attempt < night.tonight.settings.nightly_attempts:
        _give_back(night, counted=True)
        raise error
    # the last start says what stood against it
    words = str(error) if isinstance(error, LungwatchError) else f"an error of Lungwatch itself, {described['error']}"
    return Ending(NightState.FAILED, f"it was started {night.held.attempt} times; at last: {words}")


def _give_back(night: UnderWay, *, counted: bool) -> None:
    """Let the next start go on at once; where the ledger is away, once the lease has ended."""
    with suppress(NightLost, SQLAlchemyError), night.tonight.sessions.begin() as session:
        runs.give_back(session, night.held, counted=counted)


def _steps(night: UnderWay, keeper: Keeper) -> Ending:
    require_matplotlib()
    if night.held.attempt > night.tonight.settings.nightly_attempts:
        raise FitFailed(f"it was started {night.held.attempt - 1} times and killed each time")
    manifest = prepare(night)
    keeper.check()
    if night.row().kind is not NightKind.EVALUATE:
        _train(night, keeper, manifest)
    _examine(night, keeper, manifest)
    drift = _drift(night)
    keeper.check()
    if night.row().challenger_id is None:
        return after_shadow(night, keeper, drift) or Ending(NightState.EVALUATED, night.row().plan or "")
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
    # only now that the night is surely ours: a follower may be fitting in the same folder
    challenger.put_away(night.tonight.settings.bundles, row.work, night.folder)


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
            keep(night.folder, pictures, asked)
            failpoints.reach("nightly.examined")
            with tonight.sessions.begin() as session:
                runs.note(session, night.held, step=NightStep.EXAMINE)
                note(session, night.row(), pictures, asked, night.models)


def _models(night: UnderWay) -> dict[Role, ModelVersion]:
    row = night.row()
    roles = {Role.CHAMPION: row.champion_id, Role.ANCHOR: row.anchor_id, Role.CHALLENGER: row.challenger_id}
    with night.tonight.readers() as session:
        return {role: session.get_one(ModelVersion, one) for role, one in roles.items() if one is not None}


def _drift(night: UnderWay) -> Drift:
    with night.step(NightStep.DRIFT):
        stored = night.row().drift
        if stored is not None:
            return Drift.model_validate(stored)
        today = night.tonight.now.date()
        ensure_reference(night.tonight.settings, night.tonight.sessions, today)
        found = look(night.tonight.settings, night.tonight.readers, today)
        night.note(drift=found.to_data())
        return found


def _decide(night: UnderWay) -> Decision:
    with night.step(NightStep.DECIDE):
        stored = night.row().decision
        if stored is not None:
            try:
                return Decision.model_validate(stored)
            except ValidationError:
                raise FitFailed(
                    "tonight's decision was stored by another release of Lungwatch; nothing is done"
                ) from None
        with night.tonight.readers() as session:
            former = runs.last_decided(session, night.tonight.night)
            decision = judge(night, session, former)
        failpoints.reach("nightly.judged")
        night.note(decision=decision.to_data())
    failpoints.reach("nightly.decided")
    return decision


def _report(night: UnderWay, ending: Ending) -> Ending:
    """Write the report and end the night; a report that cannot be written is said, and ends no other way."""
    with night.step(NightStep.REPORT):
        reason = ending.reason
        try:
            telling.write(night, ending)
            night.note(report=str(night.folder.relative_to(night.tonight.settings.data_dir.resolve())))
        except NightLost:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: what the night came to stands, whatever a plot provokes
            log.error("report_not_written", **logging.safe_error(error))  # noqa: TRY400 - says it all
            reason = f"{reason} (The report could not be written; look at the log.)"
        failpoints.reach("nightly.reported")
    with night.tonight.sessions.begin() as session:
        runs.finish(session, night.held, ending.state, reason)
    failpoints.reach("nightly.finished")
    return Ending(ending.state, reason)
