from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from core.settings import GateMetric
from tests.factories.exams import NIGHT, exam, judged, not_held, turned
from training.nightly.gate.decision import Against, Decision, Rule, Standing, Verdict
from training.nightly.gate.exam import Exam
from training.nightly.gate.redrawn import Figure
from training.nightly.gate.spending import Spending

# one exam a year and half the chance: better is whatever is higher at all
EASILY = {"alpha_a_year": 0.5, "exams_a_year": 1}


def only(decision: Decision, rule: Rule, figure: Figure, standing: Standing, against: Against | None = None) -> None:
    """Check that this finding alone speaks against the challenger."""
    assert [(found.rule, found.figure, found.standing) for found in not_held(decision)] == [(rule, figure, standing)]
    assert not_held(decision)[0].against is against
    assert not_held(decision)[0].words in decision.reason


def moved(given: Exam, factor: float = 1.0, shift: float = 0.0) -> Exam:
    """Change the challenger's log-odds."""
    odds = np.log(given.champion.probabilities / (1 - given.champion.probabilities))
    probabilities = 1 / (1 + np.exp(-(factor * odds + shift)))
    return replace(given, challenger=replace(given.challenger, probabilities=probabilities))


def with_threshold(given: Exam, threshold: float) -> Exam:
    """Give the anchor the champion's scores and another operating point."""
    return replace(given, anchor=replace(given.champion, digest="anchor", threshold=threshold))


def test_better_and_in_nothing_worse_is_promoted() -> None:
    decision = judged(exam())
    assert decision.verdict is Verdict.PROMOTE
    assert not not_held(decision)
    assert {found.rule for found in decision.findings} == set(Rule) - {Rule.SUBGROUP}
    assert (decision.challenger, decision.champion, decision.anchor) == ("challenger", "champion", "champion")
    assert (decision.images, decision.patients, decision.ill_images, decision.ill_patients) == (1200, 1200, 600, 600)
    assert "AUC, improvement on the champion: +0.0" in decision.reason


def test_no_better_is_kept() -> None:
    given = exam()
    decision = judged(replace(given, challenger=replace(given.champion, digest="challenger")))
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.SUPERIOR, Figure.AUC, Standing.BROKEN, Against.CHAMPION)


@pytest.mark.parametrize("figure", [Figure.SENSITIVITY, Figure.SPECIFICITY])
def test_calls_alone_decide(figure: Figure) -> None:
    # of 600 patients: 4 lost is 0.7 points, 42 lost is 7
    assert judged(turned(exam(), figure, lost=4)).verdict is Verdict.PROMOTE
    decision = judged(turned(exam(), figure, lost=42), **EASILY)
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.NOT_INFERIOR, figure, Standing.BROKEN, Against.CHAMPION)


@pytest.mark.parametrize(("figure", "fewest"), [(Figure.SENSITIVITY, 189), (Figure.SPECIFICITY, 125)])
def test_too_few_patients_are_never_enough_though_all_are_called_alike(figure: Figure, fewest: int) -> None:
    def with_patients(count: int) -> Decision:
        ill, well = (count, 600) if figure is Figure.SENSITIVITY else (600, count)
        return judged(exam(ill, well=well), **EASILY)

    assert with_patients(fewest).verdict is Verdict.PROMOTE
    decision = with_patients(fewest - 1)
    assert decision.verdict is Verdict.INSUFFICIENT_EVIDENCE
    only(decision, Rule.NOT_INFERIOR, figure, Standing.UNTOLD, Against.CHAMPION)
    assert f"cannot be told from {fewest - 1} patients" in decision.reason


def test_too_few_patients_for_how_differently_they_are_called() -> None:
    # 8 gained and 8 lost of 200 with pneumonia: as good, if one could tell
    given = turned(exam(200, well=600), Figure.SENSITIVITY, gained=8, lost=8)
    decision = judged(given, **EASILY)
    assert decision.verdict is Verdict.INSUFFICIENT_EVIDENCE
    only(decision, Rule.NOT_INFERIOR, Figure.SENSITIVITY, Standing.UNTOLD, Against.CHAMPION)
    wanted = not_held(decision)[0].wanted
    assert wanted is not None
    assert f"about {wanted} are wanted" in decision.reason
    # as many as are wanted, called as differently, can be told
    more = exam(2 * wanted, well=600)
    assert judged(turned(more, Figure.SENSITIVITY, gained=wanted // 12, lost=wanted // 12)).verdict is Verdict.PROMOTE


def test_more_images_of_the_same_patients_are_no_more_patients() -> None:
    given = exam(150, well=600, images=6)
    assert given.test.ill.sum() > 300
    assert judged(given, **EASILY).verdict is Verdict.INSUFFICIENT_EVIDENCE


def test_auc_alone_decides() -> None:
    def unlucky(count: int) -> Exam:
        """Rank so many missed patients below all others; the calls stay."""
        given = turned(exam(), Figure.SENSITIVITY, gained=3)
        scores = given.challenger.scores.copy()
        missed = np.flatnonzero(given.test.ill & (scores < given.challenger.threshold))
        assert len(missed) >= count
        scores[missed[:count]] = 0.0
        # and let the champion be as good as it can with its calls, or the challenger would still gain
        champion = replace(given.champion, threshold=0.5, scores=exam().challenger.scores)
        return replace(given, challenger=replace(given.challenger, scores=scores), champion=champion, anchor=champion)

    metric = {"metric": GateMetric.SENSITIVITY, **EASILY}
    assert judged(unlucky(0), **metric).verdict is Verdict.PROMOTE
    decision = judged(unlucky(10), **metric)
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.NOT_INFERIOR, Figure.AUC, Standing.BROKEN, Against.CHAMPION)


@pytest.mark.parametrize(("factor", "holds"), [(1.2, True), (2.5, False), (0.9, True), (0.4, False)])
def test_calibration_slope_alone_decides(factor: float, holds: bool) -> None:
    decision = judged(moved(exam(), factor), log_loss_margin=5.0)
    assert (decision.verdict is Verdict.PROMOTE) == holds
    if not holds:
        assert decision.verdict is Verdict.KEEP
        only(decision, Rule.CALIBRATED, Figure.SLOPE, Standing.BROKEN)


def test_log_loss_alone_decides() -> None:
    # a shift of the log-odds leaves the slope as it is
    assert judged(moved(exam(), shift=0.1)).verdict is Verdict.PROMOTE
    decision = judged(moved(exam(), shift=1.5))
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.NOT_INFERIOR, Figure.LOG_LOSS, Standing.BROKEN, Against.CHAMPION)


@pytest.mark.parametrize("figure", [Figure.SENSITIVITY, Figure.SPECIFICITY])
def test_the_anchors_calls_alone_decide(figure: Figure) -> None:
    given = exam()
    own = given.champion.scores[given.test.ill == (figure is Figure.SENSITIVITY)]
    # the anchor calls some more, or some fewer, than the champion does
    near, far = (0.004, 0.06) if figure is Figure.SENSITIVITY else (-0.004, -0.045)
    share = float((own < given.champion.threshold).mean())
    near, far = (float(np.quantile(own, share - step)) for step in (near, far))
    assert judged(with_threshold(given, near)).verdict is Verdict.PROMOTE
    decision = judged(with_threshold(given, far))
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.NOT_INFERIOR, figure, Standing.BROKEN, Against.ANCHOR)


def test_what_the_anchor_is_better_in_alone_decides() -> None:
    given = exam()
    # the anchor ranks as the challenger does, so nothing beats it
    decision = judged(replace(given, anchor=replace(given.challenger, digest="anchor")))
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.SUPERIOR, Figure.AUC, Standing.BROKEN, Against.ANCHOR)


def test_the_anchors_auc_alone_decides() -> None:
    def held_against_a_good_ranking(count: int) -> Exam:
        """Rank so many missed patients of the challenger below all others; the anchor ranks them well."""
        given = exam()
        scores = given.challenger.scores.copy()
        scores[np.flatnonzero(given.test.ill & (scores < given.challenger.threshold))[:count]] = 0.0
        # a little worse calibrated than the challenger
        probabilities = moved(given, shift=0.3).challenger.probabilities
        return replace(
            given,
            challenger=replace(given.challenger, scores=scores),
            champion=replace(given.champion, probabilities=probabilities),
            anchor=replace(given.challenger, digest="anchor", probabilities=probabilities),
        )

    metric = {"metric": GateMetric.LOG_LOSS, **EASILY}
    assert judged(held_against_a_good_ranking(0), **metric).verdict is Verdict.PROMOTE
    decision = judged(held_against_a_good_ranking(6), **metric)
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.NOT_INFERIOR, Figure.AUC, Standing.BROKEN, Against.ANCHOR)


def test_small_losses_do_not_add_up() -> None:
    """Each step loses a point of sensitivity, well within the margin; the anchor stays where it was."""
    given = exam(3000, well=600)
    first = turned(given, Figure.SENSITIVITY, lost=35)
    decision = judged(first)
    assert decision.verdict is Verdict.PROMOTE
    assert not decision.becomes_anchor
    second = turned(first, Figure.SENSITIVITY, lost=35)
    # the second is held against the first, whose calls are the champion's now
    champion = replace(first.challenger, digest="first")
    step = replace(second, champion=champion, anchor=champion)
    losses = [found for found in judged(step).findings if found.figure is Figure.SENSITIVITY]
    assert [found.standing for found in losses] == [Standing.HELD]
    decision = judged(replace(step, anchor=given.champion))
    assert decision.verdict is Verdict.KEEP
    assert (Rule.NOT_INFERIOR, Figure.SENSITIVITY, Against.ANCHOR) in {
        (found.rule, found.figure, found.against) for found in not_held(decision)
    }


def test_a_promoted_challenger_that_lost_nothing_becomes_the_anchor() -> None:
    assert judged(exam()).becomes_anchor
    assert not judged(turned(exam(), Figure.SPECIFICITY, lost=1)).becomes_anchor
    given = exam()
    kept = judged(replace(given, challenger=replace(given.champion, digest="challenger")))
    assert not kept.becomes_anchor


@pytest.mark.parametrize("figure", [Figure.SENSITIVITY, Figure.SPECIFICITY])
def test_a_subgroup_alone_refuses(figure: Figure) -> None:
    def harmed(size: int, lost: int) -> Exam:
        """Lose calls within a subgroup of so many images of the class and gain as many elsewhere."""
        given = exam(1200)
        own = np.flatnonzero(given.test.ill == (figure is Figure.SENSITIVITY))
        right = (given.champion.scores >= given.champion.threshold) == given.test.ill
        member = np.zeros(len(given.test), np.bool_)
        member[own[right[own]][:size]] = True
        given = replace(given, test=replace(given.test, subgroups={"device: X1": member}))
        return turned(given, figure, gained=lost, lost=lost, within=member)

    assert judged(harmed(120, 2), **EASILY).verdict is Verdict.PROMOTE
    decision = judged(harmed(120, 14), **EASILY)
    assert decision.verdict is Verdict.REFUSED
    only(decision, Rule.SUBGROUP, figure, Standing.BROKEN, Against.CHAMPION)
    assert not_held(decision)[0].subgroup == "device: X1"
    # one image fewer than it takes to be looked at
    assert judged(harmed(99, 14), **EASILY).verdict is Verdict.PROMOTE


def test_a_year_whose_chances_are_spent_promotes_nothing() -> None:
    nights = tuple(NIGHT - timedelta(days) for days in (30, 20, 10))
    assert judged(exam(), spending=Spending(nights=nights), exams_a_year=4).verdict is Verdict.PROMOTE
    decision = judged(exam(), spending=Spending(nights=nights), exams_a_year=3)
    assert decision.verdict is Verdict.KEEP
    only(decision, Rule.SUPERIOR, Figure.AUC, Standing.BROKEN, Against.CHAMPION)
    assert "is spent" in decision.reason


def test_a_night_is_spent_once_it_has_looked_and_not_where_it_was_refused_before() -> None:
    given = exam()
    assert judged(given).spending.nights == (NIGHT,)
    assert judged(turned(given, Figure.SENSITIVITY, lost=100)).spending.nights == (NIGHT,)
    assert judged(replace(given, canaries=np.array([np.nan]))).spending.nights == ()
    with pytest.raises(ValueError, match="spent already"):
        judged(given, spending=judged(given).spending)


def test_refused_comes_before_too_few_and_too_few_before_kept() -> None:
    few = turned(exam(100), Figure.SENSITIVITY, lost=20)
    decision = judged(few, metric=GateMetric.SENSITIVITY)
    assert {found.standing for found in not_held(decision)} == {Standing.BROKEN, Standing.UNTOLD}
    assert decision.verdict is Verdict.INSUFFICIENT_EVIDENCE
    assert judged(replace(few, ancestry={})).verdict is Verdict.REFUSED


def test_the_same_chance_gives_the_same_decision_and_another_one_hardly_another() -> None:
    given = exam()
    assert judged(given, seed=5) == judged(given, seed=5)
    assert judged(given, seed=5) != judged(given, seed=6)
    assert judged(given, seed=given.seed()).verdict is judged(given, seed=6).verdict


def test_scores_that_separate_the_classes_have_no_slope_and_are_refused() -> None:
    given = exam()
    perfect = np.where(given.test.ill, 0.9, 0.1) + 0.05 * given.champion.scores
    decision = judged(replace(given, challenger=replace(given.challenger, probabilities=perfect)))
    assert decision.verdict is Verdict.REFUSED
    assert "slope is no number" in decision.reason
