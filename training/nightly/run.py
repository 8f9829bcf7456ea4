"""One night; read this first.

=========  ==========================  ===============================================
step       where                       durable afterwards
=========  ==========================  ===============================================
claim      `db.nightly_runs`           the night's row: token, lease, attempt
SNAPSHOT   `snapshot`, `plan`          labels that follow the verdicts, the snapshot, what the night does
TRAIN      `challenger`                epochs; then a signed bundle, and its row in the registry
EXAMINE    `examining`                 answers and figures of champion, challenger and anchor
DRIFT      `drift`                     what was measured of it
DECIDE     `deciding`, `gate`          the decision, with every finding
PROMOTE    `promotion`, `shadow`       one compare-and-swap of the champion, or none
REPORT     `telling`, `report`         the report; then the night's end
=========  ==========================  ===============================================

A night may be killed anywhere and is gone on with by whoever claims it next:
what is durable is not done again. Each write holds the night's row by its token
(`db.nightly_runs.note`), the swap of the champion too, so a holder that
was stopped past its lease changes nothing any more (promise 11).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from core import failpoints, logging
from core.errors import LungwatchError, TransientFailure
from db import nightly_runs as runs
from db.label_evidence import evidence
from db.labels import record as record_labels
from db.models.model import ModelVersion
from db.nightly_runs import NightLost
from db.registry import ChampionMoved, champion
from db.rescoring import queue as queue_rescoring
from db.vocabulary import ChangeKind, ExaminedOn, NightKind, NightState, NightStep
from training.datasets.patients import Split
from training.drawing import require_matplotlib
from training.errors import FitFailed
from training.labels.derive import derive, digests, patient_key
from training.nightly import challenger, plan, shadow, telling
from training.nightly.ancestry import ancestry
from training.nightly.challenger import Fit
from training.nightly.deciding import judge
from training.nightly.drift.look import look
from training.nightly.drift.reference import ensure_reference
from training.nightly.drift.result import Drift
from training.nightly.examining import Pictures, ask_all, keep, note
from training.nightly.gate.decision import Decision, Verdict
from training.nightly.keeping import LEASE_SECONDS, Keeper
from training.nightly.promotion import raise_champion
from training.nightly.report.night import Role
from training.nightly.shadow import ShadowVerdict, Standing
from training.nightly.snapshot.changes import new_labels, unlearnt
from training.nightly.snapshot.manifest import Manifest
from training.nightly.snapshot.material import material
from training.nightly.snapshot.recent import recent
from training.nightly.snapshot.take import take
from training.nightly.tonight import OutOfTime, Stopped, Tonight
from training.nightly.under_way import Ending, UnderWay

log: Final = logging.get(__name__)

ACTOR: Final = "nightly"
_HOUR: Final = 3600.0


def run(tonight: Tonight, lease_seconds: float = LEASE_SECONDS) -> Ending | None:
    """Do a night, or go on with it. Safe to repeat, to run twice at once, to stop and to kill.

    Returns
    -------
    Ending or None
        None where somebody else holds the night or it has ended. RUNNING where it is to be gone on with.
    """
    with tonight.sessions.begin() as session:
        held = runs.claim(session, tonight.night, lease_seconds)
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
            runs.give_back(session, held)
        return Ending(NightState.RUNNING, str(stopped))
    except OutOfTime as over:
        goes_on = night.row().step is NightStep.TRAIN
        state = NightState.CONTINUES if goes_on else NightState.FAILED
        ending = Ending(state, f"{over}; {'the fit goes on the next night' if goes_on else 'raise nightly_hours'}")
    except (NightLost, TransientFailure):
        # a disk or ledger that is away may be back when the lease has ended
        raise
    except ChampionMoved as moved:
        ending = Ending(NightState.KEPT, str(moved))
    except LungwatchError as error:
        ending = Ending(NightState.FAILED, str(error))
    return _report(night, ending)


def _steps(night: UnderWay, keeper: Keeper) -> Ending:
    manifest = _snapshot(night)
    keeper.check()
    if night.row().kind is not NightKind.EVALUATE:
        _train(night, keeper, manifest)
    _examine(night, keeper, manifest)
    drift = _drift(night)
    keeper.check()
    if night.row().challenger_id is None:
        return _after_shadow(night, drift) or Ending(NightState.EVALUATED, night.row().plan or "")
    decision = _decide(night)
    return _promote(night, decision, drift)


def _snapshot(night: UnderWay) -> Manifest:
    tonight = night.tonight
    settings = tonight.settings
    with night.step(NightStep.SNAPSHOT):
        row = night.row()
        if row.snapshot_id is not None:
            return night.read(row.snapshot_id)
        with tonight.sessions() as session, session.begin():
            key = patient_key(settings, session)
            record_labels(session, derive(evidence(session), digests(key)).wanted)
        with tonight.readers() as session:
            goes_on = runs.unfinished_fit(session, tonight.night, tonight.night - plan.LONGEST_FIT)
            shadowed = runs.in_shadow(session, tonight.night)
            reign = champion(session)
        if reign is None:
            raise FitFailed("no model is in service yet: start a worker first, it installs the starter")
        if goes_on is None or goes_on.snapshot_id is None:
            goes_on = None
            snapshot_id, manifest = take(settings, tonight.sessions)
        else:
            snapshot_id = goes_on.snapshot_id
            manifest = night.read(snapshot_id)
        failpoints.reach("nightly.snapshot")
        night.note(new_labels=_new_labels(night, manifest, reign.model))
        fine = tonight.recipes[NightKind.FINE_TUNE]
        standing = plan.Standing(
            new_labels=night.row().new_labels or 0,
            frozen_test=manifest.test_set is not None,
            in_shadow=shadowed is not None,
            # the fit of another parent is another fit
            goes_on=goes_on.kind if goes_on is not None and goes_on.champion_id == reign.model.id else None,
            same_architecture=challenger.same_network(reign.model, fine),
        )
        chosen = plan.choose(tonight.night, standing, settings.nightly_minimum_labels, settings.nightly_scratch_weekday)
        work = goes_on.work if standing.goes_on is not None and goes_on is not None else tonight.night.isoformat()
        challenger.clear_away(settings, keep=work)
        night.note(
            snapshot_id=snapshot_id,
            kind=chosen.kind,
            plan=chosen.why,
            work=work if chosen.kind is not NightKind.EVALUATE else None,
            champion_id=reign.model.id,
            champion_token=reign.fencing_token,
        )
    failpoints.reach("nightly.planned")
    return manifest


def _new_labels(night: UnderWay, manifest: Manifest, model: ModelVersion) -> int:
    """Count what no challenger has learnt from yet, nor the champion."""
    with night.tonight.readers() as session:
        former = runs.last_trained(session, night.tonight.night)
        if former is not None and former.snapshot_id is not None:
            return new_labels(manifest, night.read(former.snapshot_id))
        known = ancestry(night.tonight.settings, session, model.id).values()
    return unlearnt(manifest, frozenset[str]().union(*(patients or () for patients in known)))


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


def _promote(night: UnderWay, decision: Decision, drift: Drift) -> Ending:
    row = night.row()
    with night.step(NightStep.PROMOTE):
        if night.swapped():
            return Ending(NightState.PROMOTED, decision.reason)
        if decision.verdict is not Verdict.PROMOTE:
            return Ending(NightState.KEPT, f"{decision.verdict}: {decision.reason}")
        if drift.blocks:
            return Ending(NightState.KEPT, f"the gate would promote it, but drift is strong: {drift.words}")
        if night.tonight.settings.shadow_days > 0:
            return Ending(NightState.SHADOWED, f"{decision.reason} It scores in the shadow first.")
        if row.challenger_id is None or row.champion_token is None:
            raise FitFailed("the night's row names no challenger; it was changed by hand")
        _swap(night, row.challenger_id, row.champion_token, decision, decision.reason)
        return Ending(NightState.PROMOTED, decision.reason)


def _after_shadow(night: UnderWay, drift: Drift) -> Ending | None:
    """Go on with a challenger in the shadow: let it score, and promote or drop it when its days are over."""
    tonight = night.tonight
    with tonight.readers() as session:
        before, reign = runs.in_shadow(session, tonight.night), champion(session)
    if before is None or reign is None or before.challenger_id is None or before.finished_at is None:
        return None
    with night.step(NightStep.PROMOTE):
        if night.swapped():
            return Ending(NightState.PROMOTED, "its days in the shadow are over")
        if before.champion_token != reign.fencing_token:
            return Ending(NightState.KEPT, "the champion was changed by hand: the challenger in the shadow is dropped")
        shadow.score_live(tonight.settings, tonight.sessions, before.challenger_id, before.finished_at)
        with tonight.readers() as session:
            standing = shadow.standing(
                session,
                tonight.settings,
                before.challenger_id,
                reign.model.id,
                since=before.finished_at,
                now=tonight.now,
            )
        ending = _of_standing(standing, drift)
        if ending.state is NightState.PROMOTED:
            decision = Decision.model_validate(before.decision)
            _swap(night, before.challenger_id, reign.fencing_token, decision, ending.reason)
        return ending


def _of_standing(standing: Standing, drift: Drift) -> Ending:
    """Say what the days in the shadow come to."""
    words = " ".join(standing.words)
    if standing.verdict is ShadowVerdict.FAILED:
        return Ending(NightState.KEPT, f"the challenger in the shadow is dropped: {words}")
    if not standing.may_be_promoted:
        return Ending(NightState.EVALUATED, f"a challenger is in the shadow. {words}")
    if drift.blocks:
        return Ending(NightState.EVALUATED, f"{words} But drift is strong: {drift.words}")
    return Ending(NightState.PROMOTED, words)


def _swap(night: UnderWay, new: int, expected_token: int, decision: Decision, reason: str) -> None:
    """Change the champion, if it is still the one that the challenger was held against and the night is still ours."""
    tonight = night.tonight

    def besides(session: Session) -> None:
        # last: what it raises undoes the swap
        queue_rescoring(session, new, tonight.settings.rescore_days)
        runs.note(session, night.held, step=NightStep.PROMOTE)

    failpoints.reach("nightly.promoting")
    raise_champion(
        tonight.settings,
        tonight.sessions,
        new,
        expected_token,
        kind=ChangeKind.PROMOTED,
        actor=ACTOR,
        reason=reason,
        nightly_run_id=night.held.run_id,
        becomes_anchor=decision.becomes_anchor,
        besides=besides,
    )
    failpoints.reach("nightly.promoted")


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
