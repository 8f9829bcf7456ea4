"""What is said of figures: bars met and missed, tables, the document around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import report, results
from bench.bars import bars, paired_ratio
from bench.figures import Spread
from bench.idle import Idle
from bench.measure import Trial
from bench.plot import plot
from bench.results import Results, summarise

LABELS = {"lungwatch": "Lungwatch", "orthanc": "Orthanc, default", "storescp": "storescp", "floor": "floor"}
BEGUN = "<!-- bench-listener"


def trial(receiver: str, associations: int, rate: float, *, cpu: float = 20, pss: float = 100e6, rep: int = 0) -> Trial:
    return Trial(
        receiver=receiver,
        megabytes=15,
        associations=associations,
        images=16,
        repetition=rep,
        rate=rate,
        seconds=[0.1] * 15 + [0.9],
        cpu_milliseconds=cpu,
        sender_cpu_milliseconds=3,
        proportional_peak=int(pss),
        resident_peak=int(2 * pss),
        errors={},
    )


def run(*trials: Trial, idle: list[Idle] | None = None) -> Results:
    return Results("2026-01-02", {"memory": "24 GiB"}, list(trials), idle or [])


def verdicts(found: Results) -> dict[str, bool]:
    return {bar.what: bar.met for bar in bars(found)}


@pytest.mark.parametrize(("rate", "met"), [(20.0, True), (19.9, False)])
def test_twice_orthancs_rate_is_the_bar(rate: float, met: bool) -> None:
    found = verdicts(run(trial("lungwatch", 4, rate), trial("orthanc", 4, 10)))
    assert found["15 MB, 4 associations: rate against orthanc"] is met


@pytest.mark.parametrize(("cpu", "met"), [(40.0, True), (41.0, False)])
def test_half_of_orthancs_processor_time_is_the_bar(cpu: float, met: bool) -> None:
    found = verdicts(run(trial("lungwatch", 1, 9, cpu=cpu), trial("orthanc", 1, 9, cpu=80)))
    assert found["15 MB, 1 association: processor time an image against orthanc"] is met


def test_the_floor_and_storescp_are_no_bars_for_a_single_association() -> None:
    found = verdicts(run(*(trial(name, count, 10) for name in LABELS for count in (1, 4))))
    assert not [what for what in found if "1 association" in what and ("floor" in what or "storescp" in what)]
    assert len([what for what in found if "4 associations: rate" in what]) == 3


@pytest.mark.parametrize(("pss", "met"), [(299e6, True), (301e6, False)])
def test_memory_is_the_largest_of_any_repetition(pss: float, met: bool) -> None:
    found = verdicts(run(trial("lungwatch", 64, 9, rep=0), trial("lungwatch", 64, 9, pss=pss, rep=1)))
    assert found == {"15 MB, 64 associations: peak memory of all our processes": met}


@pytest.mark.parametrize(
    ("idle", "met"),
    [
        (Idle("lungwatch", 200, 48, 48, 20, 0.049, [0.1, 1.9], []), [True, True]),
        (Idle("lungwatch", 200, 48, 48, 20, 0.051, [0.1, 2.1], []), [False, False]),
        (Idle("lungwatch", 200, 48, 48, 20, 0.01, [0.1], ["rejected"]), [True, False]),
        (Idle("lungwatch", 200, 48, 48, 20, 0.01, [], ["rejected"]), [True, False]),
    ],
)
def test_idle_associations_have_two_bars(idle: Idle, met: list[bool]) -> None:
    assert list(verdicts(run(idle=[idle])).values()) == met


def test_the_spread_of_a_ratio_is_that_within_repetitions() -> None:
    # slow for both at once is no spread
    assert paired_ratio([(20, 10), (4, 2), (40, 20)]) == Spread(2, 2, 2)
    assert paired_ratio([(20, 10), (10, 10)]) == Spread(1.5, 1, 2)
    assert paired_ratio([]) is None


def test_a_receiver_that_did_nothing_is_beaten_infinitely() -> None:
    assert paired_ratio([(20, 0)]) == Spread(float("inf"), float("inf"), float("inf"))


def test_repetitions_are_brought_together() -> None:
    failed = replace(trial("floor", 1, 30, pss=7e6, rep=2), errors={"closed": 2})
    summary = summarise([trial("floor", 1, 10, rep=0), trial("floor", 1, 20, rep=1), failed])
    assert summary.rate == Spread(20, 10, 30)
    assert summary.p95_seconds == 0.9
    assert (summary.proportional_peak, summary.resident_peak) == (100e6, 200e6)
    assert (summary.images, summary.errors) == (48, 2)


def test_a_table_lines_up() -> None:
    assert report.table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_the_section_says_the_figures() -> None:
    idle = [Idle("lungwatch", 200, 48, 47, 20, 0.012, [0.1], [])]
    section = report.markdown(run(*(trial(name, 4, 10) for name in LABELS), idle=idle), LABELS, "p.svg")
    assert "| 4 | Lungwatch | 10.0 (10.0 to 10.0) | 0.90 | 20 | 100 | 200 | 0 |" in section
    assert "| Lungwatch | 200 | 48 | 47 | 1.2% | 0.10 | 0 of 1 |" in section
    assert "| 15 MB, 4 associations: rate against orthanc | at least 2 | 1.00 (1.00 to 1.00) | **missed** |" in section


def test_what_people_wrote_around_the_section_stays(tmp_path: Path) -> None:
    document = tmp_path / "docs" / "performance.md"
    report.insert(document, "first")
    written = document.read_text()
    document.write_text(f"# Title\n\n{written}\nAfterwards.\n")
    report.insert(document, "second")
    text = document.read_text()
    assert text.startswith(f"# Title\n\n{BEGUN}")
    assert text.endswith("\n\nAfterwards.\n")
    assert "second" in text
    assert "first" not in text
    report.insert(document, "second")
    assert document.read_text() == text


def test_a_document_without_marks_gets_them_at_its_end(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("# Title\n")
    report.insert(document, "figures")
    assert document.read_text().startswith(f"# Title\n\n{BEGUN}")


def test_raw_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    idle = [Idle("lungwatch", 200, 48, 47, 20, 0.012, [0.1], ["rejected"])]
    found = run(trial("floor", 1, 10), trial("lungwatch", 4, 10), idle=idle)
    results.save(found, tmp_path / "figures" / "raw.json")
    assert results.load(tmp_path / "figures" / "raw.json") == found


def test_equal_figures_make_an_equal_picture(tmp_path: Path) -> None:
    found = run(*(trial(name, count, 10) for name in LABELS for count in (1, 4)))
    for name in ("one.svg", "other.svg"):
        plot(found, LABELS, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    assert b"Orthanc, default" in (tmp_path / "one.svg").read_bytes()
