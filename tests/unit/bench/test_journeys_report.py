from __future__ import annotations

from pathlib import Path

from bench.journeys_report import Journey, Journeys, bars, load, markdown, write


def journey(system: str, rate: float, **options: object) -> Journey:
    values: dict[str, object] = {
        "system": system,
        "syntax": "JPEG2000Lossless",
        "associations": 4,
        "images": 8,
        "repetition": 0,
        "pace": None,
        "rate": rate,
        "seconds": [0.5, 0.6],
        "cpu_milliseconds": 100.0,
        "proportional": 400_000_000,
        "resident": 500_000_000,
        "errors": {},
    }
    return Journey(**{**values, **options})  # type: ignore[arg-type]


def run(*more: Journey) -> Journeys:
    pairs = [(12.0, 2.0), (13.0, 1.0), (9.0, 3.0)]
    trials = [
        journey(system, rate, repetition=n)
        for n, pair in enumerate(pairs)
        for system, rate in zip(("lungwatch", "naive"), pair, strict=True)
    ]
    return Journeys("today", {"Python": "3"}, [*trials, *more])


def test_the_ratio_is_that_of_the_medians_with_the_spread_within_repetitions() -> None:
    (ratio, memory, lost) = bars(run())
    assert (ratio.measured, ratio.met) == ("6.0 (3.0 to 13.0)", True)
    assert (memory.measured, memory.met) == ("400 MB", True)
    assert (lost.measured, lost.met) == ("0 of 24", True)


def test_what_misses_its_bar_is_said() -> None:
    slow = journey("lungwatch", 6.0, pace=6.0, seconds=[0.2] * 9 + [1.5], proportional=700_000_000)
    lossy = journey("lungwatch", 12.0, repetition=3, errors={"acknowledged, and no row": 1})
    found = {bar.what: (bar.measured, bar.met) for bar in bars(run(slow, lossy))}
    assert found["memory of all worker processes, largest of all loads"] == ("700 MB", False)
    assert found["JPEG2000Lossless at half the largest rate: p95 from acknowledgement to committed row"] == (
        "1.50 s",
        False,
    )
    assert found["images refused, or acknowledged without a row"] == ("1 of 40", False)
    section = markdown(run(slow, lossy))
    assert section.count("**missed**") == 3
    assert "| 4 | Lungwatch | 12.00 (9.00 to 13.00) | 6.0 (3.0 to 13.0) |" in section
    assert "| JPEG2000Lossless | 6.0 to 6.0 | 10 | 0.20 | 1.50 | 1.50 |" in section


def test_the_raw_figures_come_back_and_the_section_stands_between_its_marks(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text("Text.\n")
    write(run(), tmp_path)
    assert load(tmp_path / "figures" / "worker-journeys.json") == run()
    document = (tmp_path / "performance.md").read_text()
    assert document.startswith("Text.\n\n<!-- bench-worker, end to end: written by make bench-worker from here -->")
    assert (tmp_path / "figures" / "worker-journeys.svg").read_text().startswith("<?xml")
