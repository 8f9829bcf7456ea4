from __future__ import annotations

import json

import pytest
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.vocabulary import Share, Side
from tests.factories.rows import ModelVersionFactory, rows_in
from tests.integration.snapshot_kit import ILL, WELL, Site, patients
from tests.unit.cli.conftest import Lungwatch
from worker.serving import install_starter

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def site(ledger_settings: Settings, sessions: sessionmaker[Session]) -> Site:
    return Site(ledger_settings, sessions)


def test_a_version_is_planned_frozen_listed_and_shown(lungwatch: Lungwatch, site: Site) -> None:
    said = lungwatch("testset", "freeze", "--reason", "first")
    assert (said.code, "held-out patient" in said.err) == (1, True)
    assert lungwatch("testset", "show").code == 1
    assert "No test set yet" in lungwatch("testset", "list").err
    (ill,), (well,) = patients(Side.HELD_OUT, 1, Share.TEST), patients(Side.HELD_OUT, 1, Share.SEALED)
    site.label(ill, ILL, 1)
    site.label(well, WELL, 2)
    said = lungwatch("testset", "freeze", "--reason", "first", "--dry-run")
    assert (said.code, "would be frozen" in said.err) == (0, True)
    assert lungwatch("testset", "list", "--json").out.strip() == "[]"
    found = json.loads(lungwatch("testset", "freeze", "--reason", " first\tone ", "--json").out)
    assert (found["frozen"], found["version"], len(found["added"])) == (True, 1, 2)
    assert [(one["share"], one["label"], one["images"], one["patients"]) for one in found["sizes"]] == [
        ("TEST", "NORMAL", 0, 0),
        ("TEST", "PNEUMONIA", 1, 1),
        ("SEALED", "NORMAL", 1, 1),
        ("SEALED", "PNEUMONIA", 0, 0),
    ]
    said = lungwatch("testset", "freeze", "--reason", "again")
    assert (said.code, "Nothing differs from version 1" in said.err) == (0, True)
    site.label(ill, WELL, 1)
    said = lungwatch("testset", "freeze", "--reason", "second")
    assert "before PNEUMONIA" in said.out
    # what the gate needs at its margins of 2 and 3 points
    assert "fewer than 189" in said.err
    assert "fewer than 125" in said.err
    rows = json.loads(lungwatch("testset", "list", "--json").out)
    assert [(row["version"], row["reason"]) for row in rows] == [(1, "first one"), (2, "second")]
    shown = json.loads(lungwatch("testset", "show", "1", "--json").out)
    assert [image["label"] for image in shown["images"]] == ["PNEUMONIA", "NORMAL"]
    assert shown["sealed_opened"] == []
    for command in (("testset", "list"), ("testset", "show")):
        assert "second" in lungwatch(*command).out
    assert lungwatch("testset", "show", "3").code == 1
    assert lungwatch("testset", "freeze", "--reason", "  ").code == 2


def test_the_sealed_share_is_opened_by_a_person_with_a_reason(
    lungwatch: Lungwatch, site: Site, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        install_starter(site.settings, session)
    for seed, patient in enumerate(patients(Side.HELD_OUT, 4, Share.SEALED)):
        site.label(patient, (ILL, WELL)[seed % 2], seed)
    for code, words, *arguments in (
        (2, "needs a --reason", "--sealed"),
        (2, "neither with --data", "--sealed", "--data", "x", "--reason", "r"),
        (2, "say --data", "--reason", "r"),
        (
            2,
            "say --data",
        ),
        (2, "no model 'none'", "--sealed", "--reason", "r", "--model", "none"),
        (1, "no sealed picture", "--sealed", "--reason", "r"),
    ):
        said = lungwatch("evaluate", *arguments)
        assert (said.code, words in said.err) == (code, True), said.err
    lungwatch("testset", "freeze", "--reason", "first")
    opened = json.loads(lungwatch("evaluate", "--sealed", "--reason", "the quarter", "--json").out)
    assert (opened["data"], opened["split"], opened["n"]) == ("test set 1", "sealed", 4)
    assert {"model", "operating_point", "metrics", "subgroups"} < set(opened)
    assert (opened["sealed"]["times_opened"], opened["sealed"]["test_set"]) == (1, 1)
    said = lungwatch("evaluate", "--sealed", "--reason", "once more")
    assert (said.code, said.out) == (1, "")
    assert "may be opened again from" in said.err
    assert opened["sealed"]["closed_until"][:10] in said.err
    (when,) = json.loads(lungwatch("testset", "show", "--json").out)["sealed_opened"]
    assert when[:10] in lungwatch("testset", "show").out


def test_only_a_registered_model_opens_it(lungwatch: Lungwatch, site: Site, sessions: sessionmaker[Session]) -> None:
    site.label(patients(Side.HELD_OUT, 1, Share.SEALED)[0], ILL, 1)
    with sessions.begin() as session, rows_in(session):
        ModelVersionFactory()
    lungwatch("testset", "freeze", "--reason", "first")
    said = lungwatch("evaluate", "--sealed", "--reason", "r", "--model", "starter")
    assert (said.code, "is not registered" in said.err) == (2, True)
