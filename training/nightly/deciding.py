"""The gate asked about tonight's challenger: its exam put together, and the decision as it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sqlalchemy.orm import Session

from db.models.learning import NightlyRun
from db.models.model import ModelVersion
from training.nightly.ancestry import ancestry
from training.nightly.examining import Asked, canaries
from training.nightly.gate.decide import decide
from training.nightly.gate.decision import Decision
from training.nightly.gate.exam import Exam, FrozenTest
from training.nightly.gate.rules import rules_of
from training.nightly.gate.spending import Spending
from training.nightly.report.night import Role
from training.nightly.tonight import Tonight


def judge(
    tonight: Tonight,
    session: Session,
    test: FrozenTest,
    asked: Mapping[Role, Asked],
    models: Mapping[Role, ModelVersion],
    former: NightlyRun | None,
) -> Decision:
    """Let the gate decide; the same night, answers and rules give the same decision again.

    Parameters
    ----------
    session : Session
        To read the registry.
    former : NightlyRun or None
        The last night that the gate decided: what it carries is spent already.
    """
    challenger = models[Role.CHALLENGER]
    exam = Exam(
        night=tonight.night,
        test=test,
        challenger=asked[Role.CHALLENGER].answers,
        champion=asked[Role.CHAMPION].answers,
        anchor=asked[Role.ANCHOR].answers,
        ancestry=ancestry(tonight.settings, session, challenger.id),
        canaries=canaries(tonight.settings, challenger),
    )
    spending = Spending() if former is None else Decision.model_validate(former.decision).spending
    return decide(exam, rules_of(tonight.settings), spending, np.random.default_rng(exam.seed()))
