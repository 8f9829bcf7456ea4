"""Snapshots on both databases: who is on which side, what is listed, and what a kill leaves."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.models.learning import PatientSide, Snapshot
from db.sides import place
from db.vocabulary import Share, Side, Use
from tests.factories.rows import ago, digest
from tests.integration.snapshot_kit import ILL, WELL, Site, patients, pixels
from training.datasets.patients import Split
from training.errors import DatasetError
from training.nightly.snapshot.changes import changed_in_test, new_labels
from training.nightly.snapshot.manifest import Manifest, Reason
from training.nightly.snapshot.material import material
from training.nightly.snapshot.recent import recent
from training.nightly.snapshot.sides import side_of
from training.nightly.snapshot.take import read, take

Sessions = sessionmaker[Session]


@pytest.fixture
def site(ledger_settings: Settings, sessions: Sessions) -> Site:
    return Site(ledger_settings, sessions)


def sides_of(manifest: Manifest) -> dict[str, Side]:
    return {picture.patient_digest: picture.side for picture in manifest.pictures}


def test_the_same_content_is_the_same_snapshot_and_reads_back(site: Site, sessions: Sessions) -> None:
    for seed, side in enumerate(Side):
        for patient in patients(side, 1):
            header = {"patient_sex": "f", "patient_age_days": 900, "view": "AP", "manufacturer": "Acme", "rows": 2000}
            site.label(patient, (WELL, ILL)[seed % 2], seed, columns=1800, **header)
    number, manifest = take(site.settings, sessions)
    assert read(site.settings, manifest.digest) == manifest
    assert take(site.settings, sessions) == (number, manifest)
    assert {picture.side for picture in manifest.pictures} == set(Side)
    first = manifest.pictures[0]
    assert (first.traits.sex, first.traits.age_days, first.traits.view, first.traits.device) == ("F", 900, "AP", "Acme")
    assert first.size == (2000, 1800)
    with sessions() as session:
        (row,) = session.scalars(select(Snapshot))
    assert (row.images, row.patients, row.pixels_gone, row.test_set_id) == (4, 4, 0, None)
    assert row.counts == manifest.counts()
    assert row.counts["FIT"] == {"NORMAL": 1, "PNEUMONIA": 0}
    # nothing of what a header names a person by
    text = (site.settings.data_dir / "snapshots" / f"{manifest.digest}.jsonl").read_text()
    assert "1.2.826" not in text
    assert all(json.loads(line) for line in text.splitlines())


def test_an_empty_ledger_has_an_empty_snapshot(site: Site, sessions: Sessions) -> None:
    _, manifest = take(site.settings, sessions)
    assert (manifest.pictures, manifest.gone, manifest.test_set, manifest.patients) == ((), (), None, 0)
    assert read(site.settings, manifest.digest) == manifest
    assert new_labels(manifest, None) == 0
    assert changed_in_test(manifest) == ()
    assert material(site.settings, manifest).dataset.items == ()


def test_a_patient_never_changes_side_as_data_grow(site: Site, sessions: Sessions) -> None:
    rng = random.Random(3)
    known: dict[str, Side] = {}
    everybody = [one for side in Side for one in patients(side, 6)]
    rng.shuffle(everybody)
    for seed in range(40):
        site.label(rng.choice(everybody), rng.choice([ILL, WELL]), seed)
        if seed % 8 == 0:
            _, manifest = take(site.settings, sessions)
            found = sides_of(manifest)
            assert found.items() >= known.items()
            known = found
    assert set(known.values()) == set(Side)


def test_what_was_noted_stands_whatever_the_hash_says(site: Site, sessions: Sessions) -> None:
    (patient,) = patients(Side.HELD_OUT, 1)
    with sessions.begin() as session:
        assert place(session, {patient: Side.FIT}) == {patient: Side.FIT}
        # who comes second is told what stands
        assert place(session, {patient: Side.HELD_OUT}) == {patient: Side.FIT}
    site.label(patient, ILL, 1)
    site.import_set("public", [(patient, WELL, 2, Use.TEST)])
    _, manifest = take(site.settings, sessions)
    assert sides_of(manifest) == {patient: Side.FIT}


def test_an_imported_patient_goes_by_the_data_sets_use(site: Site, sessions: Sessions) -> None:
    names = {use: digest(f"imported {use}")[:16] for use in Use}
    mixed = digest("imported twice")[:16]
    rows = [(names[use], (ILL, WELL)[number % 2], number, use) for number, use in enumerate(Use)]
    rows += [(mixed, ILL, 100, Use.FIT), (mixed, ILL, 101, Use.TEST)]
    site.import_set("public", rows)
    _, manifest = take(site.settings, sessions)
    assert sides_of(manifest) == {
        names[Use.FIT]: Side.FIT,
        names[Use.WATCH]: Side.WATCH,
        names[Use.VALIDATION]: Side.VALIDATION,
        names[Use.TEST]: Side.HELD_OUT,
        names[Use.RESERVED]: Side.HELD_OUT,
        mixed: Side.HELD_OUT,
    }
    assert [one.reason for one in manifest.left_out] == [Reason.DROPPED]
    with sessions() as session:
        # nothing of theirs is used: another picture will say where they belong
        assert session.get(PatientSide, names[Use.DROPPED]) is None
    site.label(names[Use.DROPPED], ILL, 200)
    _, manifest = take(site.settings, sessions)
    assert sides_of(manifest)[names[Use.DROPPED]] is side_of(names[Use.DROPPED])


def test_the_same_picture_is_never_on_two_sides(site: Site, sessions: Sessions) -> None:
    (fit, other_fit), (held,), (watch,) = patients(Side.FIT, 2), patients(Side.HELD_OUT, 1), patients(Side.WATCH, 1)
    # whoever has it first: it may have been fitted on, or tested, before the other one came
    for patient in (fit, held):
        site.label(patient, ILL, 1)
    for patient in (held, fit):
        site.label(patient, ILL, 4)
    for patient, label in ((fit, ILL), (other_fit, WELL)):
        site.label(patient, label, 2)
    # filed under the wrong patient first, and perhaps fitted on as such
    wrong = site.label(watch, ILL, 3)
    take(site.settings, sessions)
    site.withdraw(watch, wrong)
    site.label(held, ILL, 3)
    _, manifest = take(site.settings, sessions)
    assert [(one.patient_digest, one.side) for one in manifest.pictures] == [(fit, Side.FIT), (held, Side.HELD_OUT)]
    assert Counter(one.reason for one in manifest.left_out) == {Reason.TWIN: 3, Reason.CONTRADICTION: 2}
    assert read(site.settings, manifest.digest) == manifest


def test_a_dropped_twin_takes_nothing_from_the_one_held_out(site: Site, sessions: Sessions) -> None:
    fit, tested = digest("imported a")[:16], digest("imported b")[:16]
    rows = [(fit, ILL, 1, Use.FIT), (fit, ILL, 2, Use.DROPPED), (tested, ILL, 2, Use.TEST)]
    site.import_set("public", rows)
    _, manifest = take(site.settings, sessions)
    assert sides_of(manifest) == {fit: Side.FIT, tested: Side.HELD_OUT}
    assert [one.reason for one in manifest.left_out] == [Reason.DROPPED]


def test_pictures_without_pixels_are_listed(site: Site, sessions: Sessions) -> None:
    first, second = patients(Side.FIT, 2)
    site.label(first, ILL, 1)
    path = site.lose(site.label(second, WELL, 2))
    number, manifest = take(site.settings, sessions)
    assert [one.patient_digest for one in manifest.pictures] == [first]
    assert [(one.patient_digest, one.label) for one in manifest.gone] == [(second, WELL)]
    with sessions() as session:
        assert session.get_one(Snapshot, number).pixels_gone == 1
    # what comes back counts as new: nothing was learnt from it
    site.master(2)
    assert path.exists()
    _, again = take(site.settings, sessions)
    assert (len(again.pictures), again.gone, new_labels(again, manifest)) == (2, (), 1)


def test_a_damaged_or_missing_manifest_is_refused(site: Site, sessions: Sessions) -> None:
    site.label(patients(Side.FIT, 1)[0], ILL, 1)
    _, manifest = take(site.settings, sessions)
    path = site.settings.data_dir / "snapshots" / f"{manifest.digest}.jsonl"
    whole = path.read_bytes()
    for content in (whole.replace(b"PNEUMONIA", b"NORMAL"), whole[:-10], b""):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="does not have the digest"):
            read(site.settings, manifest.digest)
    path.unlink()
    with pytest.raises(DatasetError, match="not there"):
        read(site.settings, manifest.digest)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        read(site.settings, "../lungwatch.db")
    take(site.settings, sessions)
    assert read(site.settings, manifest.digest) == manifest


def test_material_is_read_from_the_masters_and_split_by_patient(site: Site, sessions: Sessions) -> None:
    seeds = {side: number for number, side in enumerate(Side)}
    for side, seed in seeds.items():
        site.label(patients(side, 1)[0], (ILL, WELL)[seed % 2], seed, rows=3000, columns=2000)
    _, manifest = take(site.settings, sessions)
    found = material(site.settings, manifest)
    splits = {split: [item.patient for item in items] for split, items in found.assignment.items.items()}
    assert splits == {
        Split.FIT: patients(Side.FIT, 1),
        Split.WATCH: patients(Side.WATCH, 1),
        Split.VALIDATION: patients(Side.VALIDATION, 1),
        Split.TEST: [],
        Split.RESERVED: patients(Side.HELD_OUT, 1),
    }
    assert len({item.key for item in found.dataset.items}) == 4
    for picture, item in zip(manifest.pictures, found.items(manifest.pictures), strict=True):
        rendered = found.dataset.render(item)
        np.testing.assert_array_equal(rendered.master, pixels(seeds[picture.side]))
        assert (rendered.rows, rendered.columns, item.label) == (3000, 2000, picture.label.value)
    before = found.assignment.data_digest()
    site.lose(manifest.pictures[0].master_digest)
    with pytest.raises(DatasetError, match="take another snapshot"):
        found.dataset.master(found.items(manifest.pictures[:1])[0])
    # another label is other data, whatever the pixels
    site.master(0)
    site.label(manifest.pictures[0].patient_digest, WELL, 0)
    assert material(site.settings, take(site.settings, sessions)[1]).assignment.data_digest() != before


def test_new_labels_are_those_to_learn_from(site: Site, sessions: Sessions) -> None:
    (fit,), (watch,), (validation,), (held,) = (patients(side, 1) for side in Side)
    site.label(fit, ILL, 1)
    _, first = take(site.settings, sessions)
    assert new_labels(first, None) == 1
    assert new_labels(first, first) == 0
    site.label(fit, ILL, 1)  # said again
    site.label(watch, ILL, 2)
    site.label(validation, ILL, 3)
    site.label(held, ILL, 4)
    _, second = take(site.settings, sessions)
    assert new_labels(second, first) == 2
    site.label(fit, WELL, 1)
    _, third = take(site.settings, sessions)
    assert new_labels(third, second) == 1


def test_recent_is_what_was_read_lately_of_held_out_patients(site: Site, sessions: Sessions) -> None:
    day = 86_400
    (fit,), (held, other) = patients(Side.FIT, 1), patients(Side.HELD_OUT, 2, Share.TEST)
    site.label(fit, ILL, 1)
    # nobody froze anything yet, and still nobody is to look
    site.label(patients(Side.HELD_OUT, 1, Share.SEALED)[0], ILL, 5)
    site.label(held, ILL, 2, read_at=ago(40 * day))
    newest = site.label(held, WELL, 3, read_at=ago(5 * day))
    site.import_set("public", [(other, WELL, 4, Use.TEST)])
    _, manifest = take(site.settings, sessions)
    with sessions() as session:
        assert [one.master_digest for one in recent(session, manifest, ago(28 * day))] == [newest]
        assert len(recent(session, manifest, ago(60 * day))) == 2
        assert recent(session, manifest, ago(day)) == ()


@pytest.mark.parametrize("place_of_kill", ["snapshot.sides_noted", "snapshot.written"])
def test_a_kill_between_file_and_row_does_no_harm(
    site: Site, ledger_settings: Settings, sessions: Sessions, place_of_kill: str
) -> None:
    site.label(patients(Side.FIT, 1)[0], ILL, 1)
    code = (
        "from core.settings import load; from db.base import make_engine, make_sessions\n"
        "from training.nightly.snapshot.take import take\n"
        "settings = load(); take(settings, make_sessions(make_engine(settings)))"
    )
    environment = {
        **os.environ,
        "LUNGWATCH_DATA_DIR": str(ledger_settings.data_dir),
        "LUNGWATCH_FAILPOINT": place_of_kill,
    }
    if ledger_settings.database_url is not None:
        environment["LUNGWATCH_DATABASE_URL"] = ledger_settings.database_url.get_secret_value()
    killed = subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=60)
    assert killed.returncode == -9
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Snapshot)) == 0
    written = {path.name for path in (site.settings.data_dir / "snapshots").glob("*")}
    assert len(written) == (1 if place_of_kill == "snapshot.written" else 0)
    _, manifest = take(site.settings, sessions)
    assert {path.name for path in (site.settings.data_dir / "snapshots").glob("*")} == {f"{manifest.digest}.jsonl"}
    assert new_labels(manifest, None) == 1
