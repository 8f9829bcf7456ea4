"""What a challenger in the shadow is taken to say, and what that means for its promotion."""

from __future__ import annotations

import itertools
import math

import pytest

from bundle.manifest import Unfamiliarity
from core.settings import Settings
from db.shadow import Tally
from imaging.reading import Quality
from imaging.spec import PreprocessSpec
from tests.factories.bundles import knowing, starter
from training.nightly.shadow import ShadowVerdict, judged, outcome
from worker.decide import decide, is_unfamiliar
from worker.serving import decision_rules

SCORES = (math.nan, math.inf, -math.inf, -0.001, 0.0, 0.1, 0.4999, 0.5, 0.5001, 0.9, 1.0, 1.001)
STRANGE = (None, math.nan, math.inf, 0.0, 1.4999, 1.5, 7.0)


@pytest.mark.parametrize("measures_familiarity", [False, True])
def test_the_outcome_is_what_a_worker_would_decide(measures_familiarity: bool) -> None:
    known = Unfamiliarity.model_validate(knowing(1.5)["familiarity"]) if measures_familiarity else None
    shipped = starter().manifest
    point = shipped.operating_point.model_copy(update={"threshold": 0.5})
    manifest = shipped.model_copy(update={"familiarity": known, "operating_point": point})
    rules = decision_rules(manifest, PreprocessSpec(), None)
    said = set()
    for score, strange in itertools.product(SCORES, STRANGE):
        # the worker keeps no unfamiliarity that is not finite
        kept = strange if strange is not None and math.isfinite(strange) else None
        decided = decide(score, rules, Quality(0.9, 0.0, 1000), unfamiliar=is_unfamiliar(kept, rules))
        assert outcome(score, strange, manifest) is decided.outcome, (score, strange)
        said.add(decided.outcome.value)
    assert said == {"SUSPECTED", "NOT_SUSPECTED", "NO_RESULT"}


@pytest.mark.parametrize(
    ("counts", "days", "verdict", "word"),
    [
        ((100, 200, 300), 3.0, ShadowVerdict.PASSED, "On 1000 live images it behaves"),
        ((0, 300, 300), 2.9, ShadowVerdict.WAITS, "2.9 of 3 days"),
        # the margin itself is within it, by whichever side
        ((0, 400, 300), 3.0, ShadowVerdict.PASSED, "behaves"),
        ((0, 200, 300), 3.0, ShadowVerdict.PASSED, "behaves"),
        ((0, 401, 300), 3.0, ShadowVerdict.FAILED, "suspects 40.1%, the champion 30.0%: more than 10.0% apart"),
        ((0, 199, 300), 3.0, ShadowVerdict.FAILED, "suspects 19.9%, the champion 30.0%"),
        ((0, 300, 300, 31, 10), 3.0, ShadowVerdict.FAILED, "no result on 3.1%, the champion on 1.0%"),
        ((0, 300, 300, 30, 10), 3.0, ShadowVerdict.PASSED, "behaves"),
        ((0, 300, 300, 0, 500), 3.0, ShadowVerdict.PASSED, "behaves"),
    ],
)
def test_days_and_shares_decide(counts: tuple[int, ...], days: float, verdict: ShadowVerdict, word: str) -> None:
    besides, suspected, champion, silent, champion_silent = (*counts, 0, 0)[:5]
    found = Tally(1000 + besides, 1000, suspected, champion, silent, champion_silent)
    stands = judged(found, days, Settings(shadow_days=3))
    assert (stands.verdict, stands.may_be_promoted) == (verdict, verdict is ShadowVerdict.PASSED)
    assert word in " ".join(stands.words)
    assert (stands.suspected, stands.champion_suspected) == (suspected / 1000, champion / 1000)


def test_too_few_images_that_both_scored_wait_however_many_the_challenger_scored() -> None:
    stands = judged(Tally(1000, 199, 199, 0, 0, 0), 30.0, Settings(shadow_days=3))
    assert (stands.verdict, stands.may_be_promoted) == (ShadowVerdict.WAITS, False)
    assert "199 of 200 live images" in " ".join(stands.words)


def test_where_no_days_are_asked_for_nothing_is_held_against_it() -> None:
    stands = judged(Tally(0, 0, 0, 0, 0, 0), 0.0, Settings())
    assert stands.may_be_promoted
    assert (stands.suspected, stands.champion_suspected) == (None, None)
