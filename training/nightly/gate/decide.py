"""The gate itself: an exam in, a decision out. The same exam, rules, spending and chance give the same decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from training.nightly.gate.comparing import Comparison, calibrated
from training.nightly.gate.decision import Against, Decision, Finding, Rule, Standing, Verdict
from training.nightly.gate.exam import Exam
from training.nightly.gate.redrawn import Drawn, Figure, redraw
from training.nightly.gate.refusals import refusals
from training.nightly.gate.rules import Rules
from training.nightly.gate.spending import Spending

_REFUSE: Final = frozenset({Rule.FINITE, Rule.BOTH_CLASSES, Rule.CANARIES, Rule.ANCESTRY, Rule.SUBGROUP})


def decide(exam: Exam, rules: Rules, spending: Spending, rng: np.random.Generator) -> Decision:
    """Decide whether the challenger may take the champion's place.

    Parameters
    ----------
    spending : Spending
        What earlier nights have spent: `Decision.spending` of the last one.
    rng : numpy.random.Generator
        The only source of chance; seeded with `Exam.seed`, unless something else is being studied.

    Returns
    -------
    Decision
        Of every input, however damaged; only a night that was examined before is an error.

    Raises
    ------
    ValueError
        If the night, or a later one, is spent already.
    """
    exam, alpha = exam.in_order(), spending.alpha(exam.night, rules)
    findings = refusals(exam)
    becomes_anchor = False
    if _all_held(findings):
        # from here on the night has looked, so it has spent its share whatever comes of it
        spending = spending.after(exam.night)
        drawn = _drawn(exam, rules.resamples, rng)
        findings += _figures_missing(drawn)
        if _all_held(findings):
            findings += _compared(exam, rules, alpha, drawn)
            becomes_anchor = _all_held(findings) and _lost_nothing(drawn)
    verdict = _verdict(findings)
    ill = exam.test.ill
    return Decision(
        night=exam.night,
        verdict=verdict,
        reason=_reason(verdict, findings),
        findings=findings,
        becomes_anchor=becomes_anchor,
        alpha=alpha,
        spending=spending,
        rules=rules,
        challenger=exam.challenger.digest,
        champion=exam.champion.digest,
        anchor=exam.anchor.digest,
        images=len(exam.test),
        patients=len(set(exam.test.patients)),
        ill_images=int(ill.sum()),
        ill_patients=len({patient for patient, sick in zip(exam.test.patients, ill, strict=True) if sick}),
    )


def _drawn(exam: Exam, resamples: int, rng: np.random.Generator) -> dict[str, Drawn]:
    """Return the figures of each role; an anchor that is the champion shares the champion's."""
    models = exam.models if exam.anchored else {"challenger": exam.challenger, "champion": exam.champion}
    found = dict(zip(models, redraw(exam.test, tuple(models.values()), resamples, rng), strict=True))
    return {"anchor": found["champion"]} | found


def _compared(exam: Exam, rules: Rules, alpha: float, drawn: dict[str, Drawn]) -> tuple[Finding, ...]:
    mine = drawn["challenger"]
    champion = Comparison(exam.test, Against.CHAMPION, exam.challenger, exam.champion, mine, drawn["champion"])
    anchor = Comparison(exam.test, Against.ANCHOR, exam.challenger, exam.anchor, mine, drawn["anchor"])
    findings: list[Finding] = []
    # against the anchor too, or small losses would add up from promotion to promotion
    for other in (champion, anchor) if exam.anchored else (champion,):
        findings += (
            other.share_not_inferior(Figure.SENSITIVITY, rules.sensitivity_margin),
            other.share_not_inferior(Figure.SPECIFICITY, rules.specificity_margin),
            other.not_inferior(Figure.AUC, rules.auc_margin),
            other.superior(Figure(rules.metric), alpha),
        )
    findings += (calibrated(mine, rules), champion.not_inferior(Figure.LOG_LOSS, rules.log_loss_margin))
    findings += champion.subgroups(rules)
    return tuple(findings)


def _figures_missing(drawn: dict[str, Drawn]) -> tuple[Finding, ...]:
    """Find figures that are no numbers, as the slope where the scores separate the classes."""
    missing = [
        f"the {role}'s {figure.replace('_', '-')} is no number on the test set"
        + (": its scores tell all its pictures apart, and no slope fits that" if figure is Figure.SLOPE else "")
        for role, figures in drawn.items()
        for (figure, subgroup), values in figures.items()
        if not subgroup and not np.isfinite(values[0])
    ]
    return tuple(Finding(rule=Rule.FINITE, standing=Standing.BROKEN, words=words) for words in missing)


def _lost_nothing(drawn: dict[str, Drawn]) -> bool:
    """Tell whether the challenger is as it stands no worse than the anchor in anything that may be a little worse."""
    return all(
        drawn["challenger"][figure, ""][0] >= drawn["anchor"][figure, ""][0]
        for figure in (Figure.SENSITIVITY, Figure.SPECIFICITY, Figure.AUC)
    )


def _all_held(findings: Sequence[Finding]) -> bool:
    return all(finding.standing is Standing.HELD for finding in findings)


def _verdict(findings: Sequence[Finding]) -> Verdict:
    if any(finding.rule in _REFUSE and finding.standing is Standing.BROKEN for finding in findings):
        return Verdict.REFUSED
    if any(finding.standing is Standing.UNTOLD for finding in findings):
        return Verdict.INSUFFICIENT_EVIDENCE
    return Verdict.PROMOTE if _all_held(findings) else Verdict.KEEP


def _reason(verdict: Verdict, findings: Sequence[Finding]) -> str:
    match verdict:
        case Verdict.PROMOTE:
            shown = [finding for finding in findings if finding.rule is Rule.SUPERIOR]
            return f"Better, and in nothing too much worse: {_list(shown)}."
        case Verdict.KEEP:
            return f"The champion stays: {_list(findings, Standing.BROKEN)}."
        case Verdict.INSUFFICIENT_EVIDENCE:
            return f"Too few test patients: {_list(findings, Standing.UNTOLD)}."
        case Verdict.REFUSED:
            refused = [finding for finding in findings if finding.rule in _REFUSE]
            return f"The challenger is refused: {_list(refused, Standing.BROKEN)}."


def _list(findings: Sequence[Finding], standing: Standing = Standing.HELD) -> str:
    return "; ".join(finding.words for finding in findings if finding.standing is standing)
