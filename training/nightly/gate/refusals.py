"""What must be right before anything is compared: numbers that are numbers, both classes, a test unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from training.nightly.gate.decision import Finding, Rule, Standing
from training.nightly.gate.exam import Exam


def refusals(exam: Exam) -> tuple[Finding, ...]:
    """Look at the input; nothing else may be looked at unless all of these hold."""
    return (
        _finding(Rule.FINITE, _not_shares(exam), "every score, probability and threshold is a number from 0 to 1"),
        _finding(Rule.BOTH_CLASSES, _missing_classes(exam), "the test set has images with and without pneumonia"),
        _finding(Rule.CANARIES, _canaries(exam), "the challenger answers its own test inputs with numbers from 0 to 1"),
        _finding(
            Rule.ANCESTRY, _seen(exam), "no test patient is among those the challenger or an ancestor was fitted on"
        ),
    )


def _finding(rule: Rule, wrong: Iterable[str], right: str) -> Finding:
    found = "; ".join(wrong)
    return Finding(rule=rule, standing=Standing.BROKEN if found else Standing.HELD, words=found or right)


def _not_shares(exam: Exam) -> Iterator[str]:
    for role, model in exam.models.items():
        for name, values in (("scores", model.scores), ("probabilities", model.probabilities)):
            # written so that NaN is wrong, too
            if count := int((~((values >= 0) & (values <= 1))).sum()):
                yield f"{count} of the {role}'s {name} are no number from 0 to 1"
        if not 0 <= model.threshold <= 1:
            yield f"the {role}'s threshold is no number from 0 to 1"


def _missing_classes(exam: Exam) -> Iterator[str]:
    labels = exam.test.labels
    if count := int((~np.isin(labels, (0, 1))).sum()):
        yield f"{count} labels of the test set are neither 0 nor 1"
    for label, name in ((1, "with"), (0, "without")):
        if not (labels == label).any():
            yield f"no image {name} pneumonia in the test set"


def _canaries(exam: Exam) -> Iterator[str]:
    if not exam.canaries.size:
        yield "the challenger answered none of its own test inputs"
    if count := int((~((exam.canaries >= 0) & (exam.canaries <= 1))).sum()):
        yield f"{count} of the challenger's answers to its own test inputs are no number from 0 to 1"


def _seen(exam: Exam) -> Iterator[str]:
    tested = frozenset(exam.test.patients)
    if exam.challenger.digest not in exam.ancestry:
        yield "which patients the challenger was fitted on is not said"
    for bundle, fitted in sorted(exam.ancestry.items()):
        whose = "the challenger" if bundle == exam.challenger.digest else f"its ancestor {bundle[:12]}"
        # a list that is lost, or empty, would let everything through
        if not fitted:
            yield f"which patients {whose} was fitted on is not known"
        elif overlap := len(tested & fitted):
            yield f"{whose} was fitted on {overlap} of the {len(tested)} test patients"
