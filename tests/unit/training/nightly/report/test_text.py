from __future__ import annotations

import pytest

from tests.factories.nights import evaluated, failed, night
from training.nightly.report.measured import measure
from training.nightly.report.night import Night
from training.nightly.report.text import text


@pytest.fixture(scope="module")
def whole() -> str:
    return written(night(thumbnails=False))


def written(given: Night) -> str:
    found = [None if examined is None else measure(examined, 60) for examined in (given.test, given.recent)]
    return text(given, *found)


def test_what_became_of_the_night_and_why_comes_first(whole: str) -> None:
    assert whole.splitlines()[:4] == [
        "Lungwatch, night of 2026-03-01, FINE_TUNE: PROMOTED",
        "se-resnet 10 is in service from now on; se-resnet 9 was before.",
        "Gate: PROMOTE",
        "Better, and in nothing too much worse: AUC, improvement on the champion: +0.0160 (99.97 % interval",
    ]


def test_figures_stand_in_columns_with_their_intervals(whole: str) -> None:
    lines = whole.splitlines()
    place = lines.index(
        "On the frozen test set, version 3: 800 pictures of 600 patients, 400 of them with pneumonia (300 patients)"
    )
    assert lines[place + 1].split() == ["AUC", "sensitivity", "specificity"]
    rows = [line.split() for line in lines[place + 2 : place + 5]]
    assert [row[:2] for row in rows] == [["challenger", "0.997"], ["champion", "0.981"], ["anchor", "0.981"]]
    # one column below the other
    assert len({line.index(" (") for line in lines[place + 2 : place + 4]}) == 1
    assert "On the newest reviewed weeks: 80 pictures" in whole


def test_it_is_short_and_fits_a_mail(whole: str) -> None:
    lines = whole.splitlines()
    assert len(lines) < 35
    assert max(map(len, lines)) <= 110
    assert lines[-1] == "Plots and subgroups: report.html beside this text."
    assert "Labels: 5,277, 64 new or changed; a night trains with 50" in lines
    assert "- Drift: NOTICE in device." in lines


def test_a_night_that_only_evaluated_speaks_of_no_gate() -> None:
    found = written(evaluated())
    assert found.startswith("Lungwatch, night of 2026-03-01, EVALUATE: EVALUATED\n")
    assert "Gate" not in found
    assert "challenger" not in found
    assert "12 new labels; a night trains with 50." in found


def test_a_night_that_failed_early_has_what_there_is() -> None:
    assert written(failed()).splitlines() == [
        "Lungwatch, night of 2026-03-01: FAILED",
        "The night failed in the step SNAPSHOT; the champion stays in service.",
        "<disk> full: make room under data/snapshots",
        "",
        "Steps: SNAPSHOT 2.5 s",
        "Plots and subgroups: report.html beside this text.",
    ]
