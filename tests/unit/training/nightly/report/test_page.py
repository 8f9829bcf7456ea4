from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from db.vocabulary import ImageClass, NightState
from tests.factories.nights import evaluated, failed, night
from training.fitting.run import Epoch
from training.nightly.gate.decision import Standing
from training.nightly.gate.exam import FrozenTest
from training.nightly.report.choosing import MOST
from training.nightly.report.measured import measure
from training.nightly.report.night import Disagreement, DriftPanel, Examined, Material, Model, Night, Role
from training.nightly.report.page import page

VOID = frozenset({"meta", "br", "img"})


class Outline(HTMLParser):
    """Reads a page, and fails where an element is closed that was not the last one opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(f"{tag}.{name}", value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(f"{tag}.{name}", value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))


def written(given: Night) -> str:
    found = [None if examined is None else measure(examined, 60) for examined in (given.test, given.recent)]
    return page(given, *found)


@pytest.fixture(scope="module")
def given() -> Night:
    return night()


@pytest.fixture(scope="module")
def whole(given: Night) -> str:
    return written(given)


@pytest.fixture(scope="module")
def outline(whole: str) -> Outline:
    return Outline(whole)


def row(text: str, name: str, number: int = 0) -> list[str]:
    """Return the cells of the table row that begins with a name."""
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", part) for part in re.findall(r"<tr>(.*?)</tr>", text)]
    return [cells for cells in rows if cells[:1] == [name]][number]


def test_what_became_of_the_night_comes_before_everything_else(given: Night, outline: Outline) -> None:
    assert given.decision is not None
    texts = outline.texts[outline.texts.index("Night of 2026-03-01") :]
    assert texts[:6] == [
        "Night of 2026-03-01",
        "PROMOTED",
        "FINE_TUNE Gate:",
        "PROMOTE",
        "se-resnet 10 is in service from now on; se-resnet 9 was before.",
        given.decision.reason,
    ]
    assert texts[6:8] == ["To look at", "Drift: NOTICE in device."]


def test_figures_stand_beside_each_other(whole: str) -> None:
    for number in (0, 1):
        assert len(row(whole, "AUC", number)) == 4
    assert row(whole, "AUC")[1].startswith("0.997 (0.99")
    assert row(whole, "AUC")[2].startswith("0.981 (0.97")
    assert row(whole, "calibration slope")[2].startswith("1.066 (0.")
    assert "800 pictures of 600 patients, 400 of them with pneumonia (300 patients)" in whole


def test_every_finding_of_the_gate_is_there_the_broken_ones_first(given: Night, whole: str) -> None:
    assert given.decision is not None
    held = given.decision
    assert [finding.words for finding in held.findings if finding.words[1:] not in unescape(whole)] == []
    worse = held.findings[-1].model_copy(update={"standing": Standing.BROKEN, "words": "it is <worse>"})
    decision = held.model_copy(update={"findings": (*held.findings[:-1], worse)})
    text = written(replace(given, decision=decision, test=None, recent=None, disagreements=()))
    assert text.index("It is &lt;worse&gt;.") < text.index("Every score, probability")
    assert "not inferior, AUC" in text


def test_calls_at_the_operating_point_are_counted(given: Night, whole: str) -> None:
    assert given.test is not None
    said, ill = given.test.answers[Role.CHALLENGER], given.test.pictures.ill
    found = int((said.scores >= said.threshold)[ill].sum())
    assert row(whole, "PNEUMONIA")[1:] == [f"{found} ({found / 400:.1%})", f"{400 - found} ({1 - found / 400:.1%})"]
    assert "no number" not in whole


def test_subgroups_have_their_gains(whole: str) -> None:
    assert row(whole, "sex: F")[1] == "200"
    assert row(whole, "sex: F")[-1] == "+0.000 (+0.000 to +0.000)"
    assert len(row(whole, "sex: F")) == 6
    assert "<caption>specificity</caption>" in whole


def test_drift_shows_both_periods(whole: str) -> None:
    assert '<th scope="row">C$1$</th><td>25.0%' in whole
    assert '<b>agreement</b> <span class="badge mild">UNTOLD</span> 12 verdicts are too few' in whole
    assert 'aria-label="shares of reference and recent weeks by score"' in whole
    # the outer bins are open and have no edge to write
    assert [tick for tick in ("0.1", "0.5", "0.9") if f">{tick}</text>" not in whole] == []
    assert "inf" not in re.sub(r"inferior", "", "".join(re.findall(r"<text[^>]*>[^<]*", whole)))


def test_labels_and_sides_are_counted(whole: str) -> None:
    assert row(whole, "VERDICT") == ["VERDICT", "0", "77", "77"]
    assert row(whole, "FIT") == ["FIT", "1,120", "3,310", "4,430"]
    assert 'aria-label="bars of labels by origin, pictures of the snapshot by side, by class"' in whole
    assert "64 are new or changed since the last challenger" in whole


def test_disagreements_have_a_thumbnail_or_say_why_not(given: Night, whole: str) -> None:
    first = given.disagreements[0]
    assert whole.count("data:image/jpeg;base64,") == MOST - 1
    assert whole.count('<div class="gone">pixels gone</div>') == 1
    assert f"<b>{first.number}</b> {first.label}, TEST<br>challenger {first.scores[Role.CHALLENGER]:.4f}" in whole
    assert whole.index(f"<b>{first.number}</b>") < whole.index(f"<b>{given.disagreements[1].number}</b>")


def test_no_more_than_so_many_disagreements_are_shown(given: Night) -> None:
    one = replace(given.disagreements[0], thumbnail=None)
    text = written(replace(given, test=None, recent=None, decision=None, disagreements=(one,) * 100))
    assert text.count("pixels gone") == MOST


def test_the_run_is_told(whole: str) -> None:
    assert row(whole, "TRAIN") == ["TRAIN", "21.8 s"]
    assert row(whole, "LUNGWATCH_GATE_METRIC") == ["LUNGWATCH_GATE_METRIC", "auc"]
    assert "Started 2026-03-01 01:30:00 UTC, ended 2026-03-01 02:36:40 UTC." in whole
    assert "8 epochs in 8 min." in whole


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(whole: str, outline: Outline) -> None:
    assert not set(outline.tags) & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert [name for name, _ in outline.attributes if ".on" in name] == []
    addresses = [value for name, value in outline.attributes if name.endswith((".src", ".href", ".xlink:href"))]
    assert addresses
    assert {address[:1] for address in addresses if not address.startswith("data:")} == {"#"}
    assert not re.search(r"https?://(?!www\.w3\.org/(2000/svg|1999/xlink)\")", whole)
    assert not re.search(r"@import|url\((?!#)", whole)
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"" in whole


def test_every_picture_says_what_it_shows(outline: Outline) -> None:
    alternatives = [value for name, value in outline.attributes if name in {"img.alt", "svg.aria-label"}]
    assert len(alternatives) == outline.tags["img"] + outline.tags["svg"]
    assert all(alternatives)
    assert "ROC curves of challenger, champion, anchor, operating points marked" in alternatives


def test_the_plots_take_the_colour_of_the_page_and_can_be_told_apart_without_colour(whole: str) -> None:
    roc = re.findall(r"<svg.*?</svg>", whole, re.DOTALL)[0]
    Outline(roc)
    assert "#000000" not in whole.replace("background: #000;", "")
    assert "currentColor" in roc
    # solid, dashed and dotted
    assert len(set(re.findall(r"stroke-dasharray: ([^;]+);", roc))) == 2
    for words in ("challenger", "champion", "anchor", "sensitivity", "1 - specificity", "newest reviewed weeks"):
        assert f">{words}</text>" in roc


def test_a_name_occurs_once_or_means_the_same(whole: str) -> None:
    named = re.findall(r'<(?:path|clipPath) id="([^"]+)"(.*?)(?:/>|</clipPath>)', whole, re.DOTALL)
    meanings: dict[str, set[str]] = {}
    for name, meaning in named:
        meanings.setdefault(name, set()).add(meaning)
    assert meanings
    assert {name for name, several in meanings.items() if len(several) > 1} == set()


def test_what_came_from_outside_is_escaped(whole: str) -> None:
    assert '<th scope="row">&lt;A &amp; B&gt;</th>' in whole
    assert "<A" not in whole
    hostile = "<script>alert(1)</script>"
    base = night(40, thumbnails=False)
    assert base.test is not None
    pictures = replace(base.test.pictures, subgroups={hostile: np.ones(len(base.test.pictures), np.bool_)})
    text = written(
        replace(
            base,
            reason=hostile,
            notes=(hostile,),
            settings={hostile: hostile},
            models=(Model(Role.CHAMPION, hostile, hostile, 0.5),),
            test=replace(base.test, pictures=pictures),
            decision=None,
            recent=None,
            epochs=(),
            drift=None,
        )
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 7


def test_nobody_can_be_recognised(given: Night, whole: str) -> None:
    assert given.test is not None
    patients = set(given.test.pictures.patients)
    assert len(patients) > 100
    assert [patient for patient in patients if patient in whole] == []


def test_a_night_that_only_evaluated_has_no_gate_and_no_challenger() -> None:
    text = written(evaluated())
    found = Outline(text)
    assert "12 new labels; a night trains with 50." in found.texts
    assert "Gate" not in text
    assert "The gate" not in text
    assert "challenger" not in text.replace("since the last challenger", "")
    assert len(row(text, "AUC")) == 2
    assert 'aria-label="ROC curves of champion, operating points marked"' in text
    assert '<th scope="col" class="n">gain</th>' not in text


def test_a_night_that_failed_says_where_and_shows_no_empty_sections() -> None:
    found = Outline(written(failed()))
    assert found.texts[found.texts.index("FAILED") :][:3] == [
        "FAILED",
        "The night failed in the step SNAPSHOT; the champion stays in service.",
        "<disk> full: make room under data/snapshots",
    ]
    assert (found.tags["h2"], found.tags["svg"]) == (1, 0)


def test_a_night_without_a_test_set_says_what_is_missing() -> None:
    given = replace(
        evaluated(), test=None, recent=None, material=Material("5" * 64, None, {}, 0), state=NightState.EVALUATED
    )
    found = Outline(written(given))
    assert "There is no frozen test set" in " ".join(found.texts)
    assert [value for name, value in found.attributes if name == "svg.aria-label"] == [
        "bars of labels by origin, by class"
    ]


def test_an_empty_set_of_pictures_is_no_section_of_nothing() -> None:
    base = evaluated()
    assert base.test is not None
    said = base.test.answers[Role.CHAMPION]
    nothing = replace(said, scores=np.empty(0), probabilities=np.empty(0))
    empty = Examined(FrozenTest(np.empty(0, np.int64), ()), {Role.CHAMPION: nothing})
    text = written(replace(base, recent=empty))
    assert "<h3>On the newest reviewed weeks</h3><p>No pictures.</p>" in text
    assert text.count("Calls at the operating point") == 1
    assert "cannot be measured" not in text


def test_a_challenger_without_numbers_is_said_and_the_others_are_drawn() -> None:
    base = night(40, thumbnails=False)
    assert base.test is not None
    said = base.test.answers[Role.CHALLENGER]
    broken = replace(said, scores=np.where(np.arange(len(said.scores)) == 3, np.nan, said.scores))
    text = written(
        replace(base, test=replace(base.test, answers={**base.test.answers, Role.CHALLENGER: broken}), recent=None)
    )
    Outline(text)
    assert "The challenger cannot be measured on the frozen test set, version 3: 1 of its scores are no number" in text
    assert "no number</th>" in text
    assert 'aria-label="histograms of the scores of champion, anchor, thresholds marked"' in text


def test_a_test_set_of_one_class_has_calls_and_no_curve() -> None:
    base = evaluated()
    assert base.test is not None
    ill = base.test.pictures.ill
    pictures = base.test.pictures
    patients = tuple(patient for patient, sick in zip(pictures.patients, ill, strict=True) if sick)
    said = base.test.answers[Role.CHAMPION]
    only = replace(said, scores=said.scores[ill], probabilities=said.probabilities[ill])
    text = written(
        replace(
            base,
            test=Examined(FrozenTest(pictures.labels[ill], patients), {Role.CHAMPION: only}),
            labels=None,
            material=None,
        )
    )
    found = Outline(text)
    assert found.tags["svg"] == 0
    assert row(text, "AUC")[1] == "not defined"
    assert row(text, "NORMAL") == ["NORMAL", "0", "0"]


def test_losses_that_are_no_numbers_leave_a_gap_and_an_image_of_one_colour_is_shown() -> None:
    epochs = (Epoch(1, np.nan, np.nan, 0.5, 1.0), Epoch(2, np.inf, 0.4, 0.6, 1.0))
    black = Disagreement(1, ImageClass.NORMAL, "TEST", {Role.CHAMPION: 0.9}, np.zeros((3, 512), np.uint16))  # type: ignore[arg-type]
    text = written(replace(failed(), epochs=epochs, disagreements=(black,)))
    assert "losses and balanced accuracy of 2 epochs" in text
    assert text.count("data:image/jpeg") == 1


def test_a_measure_of_many_categories_or_in_another_script_is_written_as_it_is() -> None:
    base = evaluated()
    drift = night(40, thumbnails=False).drift
    assert drift is not None
    panel = DriftPanel("device", "NONE", "PSI 0", (), ("富士フイルム", "$x$"), (0.5, 0.5), (0.5, 0.5))
    assert "富士フイルム" in written(replace(base, drift=replace(drift, panels=(panel,))))
