"""The night's last decision: the challenger into service, into the shadow, or neither; and out of the shadow again."""

from __future__ import annotations

from typing import Final

from sqlalchemy.orm import Session

from core import failpoints
from db import nightly_runs as runs
from db.registry import champion
from db.rescoring import queue as queue_rescoring
from db.vocabulary import ChangeKind, NightState, NightStep, Share
from training.errors import FitFailed
from training.nightly import shadow
from training.nightly.drift.result import Drift
from training.nightly.gate.decision import Decision, Verdict
from training.nightly.keeping import Keeper
from training.nightly.promotion import raise_champion
from training.nightly.shadow import ShadowVerdict, Standing
from training.nightly.under_way import Ending, UnderWay

ACTOR: Final = "nightly"
# share of the frozen test set; which pictures go is not by chance
_MOST_LOST: Final = 0.05


def promote(night: UnderWay, decision: Decision, drift: Drift) -> Ending:
    """Do with tonight's challenger what the gate said, unless drift is strong.

    Raises
    ------
    BundleRefused
        If its bundle is not what was registered.
    ChampionMoved
        If somebody changed the champion during the night.
    NightLost
        If the night is not ours any more; the champion stays.
    """
    row = night.row()
    with night.step(NightStep.PROMOTE):
        if (why := night.swapped()) is not None:
            return Ending(NightState.PROMOTED, why)
        if decision.verdict is not Verdict.PROMOTE:
            return Ending(NightState.KEPT, f"{decision.verdict}: {decision.reason}")
        if (lost := _too_many_lost(night)) is not None:
            return Ending(NightState.KEPT, f"the gate would promote it, but {lost}")
        if drift.blocks:
            return Ending(NightState.KEPT, f"the gate would promote it, but drift is strong: {drift.words}")
        if night.tonight.settings.shadow_days > 0:
            return Ending(NightState.SHADOWED, f"{decision.reason} It scores in the shadow first.")
        if row.challenger_id is None or row.champion_token is None:
            raise FitFailed("the night's row names no challenger; it was changed by hand")
        _swap(night, row.challenger_id, row.champion_token, decision.reason, becomes_anchor=decision.becomes_anchor)
        return Ending(NightState.PROMOTED, decision.reason)


def _too_many_lost(night: UnderWay) -> str | None:
    """Say if so many pictures of the frozen test set have lost their pixels that the rest may not stand for it."""
    if night.manifest is None:
        return None
    there = sum(picture.share is Share.TEST for picture in night.manifest.pictures)
    lost = sum(picture.share is Share.TEST for picture in night.manifest.gone)
    if lost <= _MOST_LOST * (there + lost):
        return None
    return f"{lost} of the {there + lost} pictures of the frozen test set have lost their pixels; freeze it anew"


def after_shadow(night: UnderWay, keeper: Keeper, drift: Drift) -> Ending | None:
    """Go on with a challenger in the shadow: let it score, and promote or drop it when its days are over."""
    tonight = night.tonight
    with tonight.readers() as session:
        before, reign = runs.in_shadow(session, tonight.night), champion(session)
    if before is None or reign is None or before.challenger_id is None or before.finished_at is None:
        return None
    with night.step(NightStep.PROMOTE):
        if (why := night.swapped()) is not None:
            return Ending(NightState.PROMOTED, why)
        if before.champion_token != reign.fencing_token:
            return Ending(NightState.KEPT, "the champion was changed by hand: the challenger in the shadow is dropped")
        shadow.score_live(
            tonight.settings, tonight.sessions, before.challenger_id, before.finished_at, lambda _: keeper.check()
        )
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
            becomes_anchor = bool((before.decision or {}).get("becomes_anchor"))
            _swap(night, before.challenger_id, reign.fencing_token, ending.reason, becomes_anchor=becomes_anchor)
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


def _swap(night: UnderWay, new: int, expected_token: int, reason: str, *, becomes_anchor: bool) -> None:
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
        becomes_anchor=becomes_anchor,
        besides=besides,
    )
    failpoints.reach("nightly.promoted")
