"""The gate asked about tonight's challenger: its exam put together, and the decision as it is stored."""

from __future__ import annotations

import numpy as np
from sqlalchemy.orm import Session

from db.models.learning import NightlyRun
from db.vocabulary import ExaminedOn
from training.nightly.ancestry import ancestry
from training.nightly.examining import canaries
from training.nightly.gate.decide import decide
from training.nightly.gate.decision import Decision
from training.nightly.gate.exam import Exam
from training.nightly.gate.rules import rules_of
from training.nightly.gate.spending import Spending
from training.nightly.report.night import Role
from training.nightly.under_way import UnderWay


def judge(night: UnderWay, session: Session, former: NightlyRun | None) -> Decision:
    """Let the gate decide; the same night, answers and rules give the same decision again.

    Parameters
    ----------
    night : UnderWay
        With its models asked about the frozen test set.
    session : Session
        To read the registry.
    former : NightlyRun or None
        The last night that the gate decided: what it carries is spent already.
    """
    settings, asked = night.tonight.settings, night.asked[ExaminedOn.TEST]
    challenger = night.models[Role.CHALLENGER]
    exam = Exam(
        night=night.tonight.night,
        test=night.pictures[ExaminedOn.TEST].frozen(),
        challenger=asked[Role.CHALLENGER].answers,
        champion=asked[Role.CHAMPION].answers,
        anchor=asked[Role.ANCHOR].answers,
        ancestry=ancestry(settings, session, challenger.id),
        canaries=canaries(settings, challenger),
    )
    # of an older release's decision the nights that were spent are all that matters
    spending = Spending() if former is None else Spending.model_validate((former.decision or {})["spending"])
    return decide(exam, rules_of(settings), spending, np.random.default_rng(exam.seed()))
