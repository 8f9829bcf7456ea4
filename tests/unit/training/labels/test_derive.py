from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.errors import Misconfigured
from core.settings import Settings
from db.consensus import Reading, consensus
from db.judged import Judged
from db.label_evidence import Evidence
from db.models.dataset import Label, LabelledImage
from db.vocabulary import ImageClass, LabelOrigin, VerdictKind
from tests.factories.rows import ago
from training.labels.derive import KEY_FILE, Without, derive, patient_key

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ILL, WELL = ImageClass.PNEUMONIA, ImageClass.NORMAL


def study(
    number: int,
    *said: VerdictKind,
    patient: str | None = "P",
    pictures: tuple[str, ...] = ("m",),
    conflict_at: datetime | None = None,
) -> Evidence:
    readings = [
        Reading(100 * number + place, f"reader {place}", NOON, kind, model_visible=True)
        for place, kind in enumerate(said)
    ]
    judged = Judged(number, f"1.2.{number}", None, patient, "H", 1, NOON, consensus(readings))
    return Evidence(judged, pictures, conflict_at)


def labelled(*evidence: Evidence) -> dict[tuple[str, str], tuple[ImageClass, str | None, list[int]]]:
    derived = derive(evidence, lambda patient: f"digest of {patient}")
    return {one.picture: (one.label, one.subgroup, sorted(one.verdict_ids)) for one in derived.wanted}


def reasons(*evidence: Evidence) -> dict[Without, int]:
    return derive(evidence, str).without


@pytest.mark.parametrize(
    ("said", "label", "subgroup"),
    [
        ((VerdictKind.PNEUMONIA,), ILL, None),
        ((VerdictKind.NO_PNEUMONIA,), WELL, None),
        ((VerdictKind.OTHER_ABNORMAL,), WELL, "other_abnormal"),
        ((VerdictKind.PNEUMONIA, VerdictKind.PNEUMONIA, VerdictKind.OTHER_ABNORMAL), ILL, None),
    ],
)
def test_every_picture_of_a_study_is_what_its_readers_say(
    said: tuple[VerdictKind, ...], label: ImageClass, subgroup: str | None
) -> None:
    verdict_ids = [100 + place for place in range(len(said))]
    expected = {(master, "digest of H\\P"): (label, subgroup, verdict_ids) for master in ("m", "n")}
    assert labelled(study(1, *said, pictures=("m", "n"))) == expected


def test_what_gives_no_label_says_why() -> None:
    later = NOON + timedelta(hours=1)
    found = reasons(
        study(1, VerdictKind.PNEUMONIA, VerdictKind.NO_PNEUMONIA),
        study(2, VerdictKind.INDETERMINATE),
        study(3, VerdictKind.NOT_A_CHEST),
        study(4, VerdictKind.PNEUMONIA, conflict_at=later),
        study(5, VerdictKind.PNEUMONIA, patient=None),
        study(6, VerdictKind.PNEUMONIA, pictures=()),
        study(7, VerdictKind.PNEUMONIA, conflict_at=NOON - timedelta(hours=1)),
    )
    others = set(Without) - {Without.CONTRADICTION}
    assert found == dict.fromkeys(sorted(others), 1)


def test_who_could_not_tell_settles_no_conflict() -> None:
    conflict_at = NOON + timedelta(hours=1)
    before = Reading(1, "a", NOON, VerdictKind.PNEUMONIA, model_visible=True)
    for kind, found in ((VerdictKind.INDETERMINATE, {Without.CONFLICT: 1}), (VerdictKind.PNEUMONIA, {})):
        after = Reading(2, "b", conflict_at + timedelta(hours=1), kind, model_visible=True)
        judged = Judged(1, "1.2.1", None, "P", "H", 1, NOON, consensus([before, after]))
        assert reasons(Evidence(judged, ("m",), conflict_at)) == found


def test_one_picture_in_two_studies() -> None:
    ill, well, odd = (
        study(number, kind)
        for number, kind in enumerate((VerdictKind.PNEUMONIA, VerdictKind.NO_PNEUMONIA, VerdictKind.OTHER_ABNORMAL), 1)
    )
    assert labelled(ill, well) == {}
    assert reasons(ill, well) == {Without.CONTRADICTION: 2}
    assert labelled(well, odd) == {("m", "digest of H\\P"): (WELL, "other_abnormal", [200, 300])}
    # of two patients it is two pictures
    assert len(labelled(ill, study(2, VerdictKind.NO_PNEUMONIA, patient="Q"))) == 2


@given(
    st.lists(
        st.builds(
            lambda number, said, patient, pictures: study(number, *said, patient=patient, pictures=pictures),
            st.integers(1, 10_000),
            st.lists(st.sampled_from(VerdictKind), min_size=1, max_size=3),
            st.sampled_from(["P", "Q", None]),
            st.sampled_from([(), ("m",), ("m", "n"), ("o",)]),
        ),
        max_size=6,
        unique_by=lambda one: one.judged.study_id,
    ),
    st.randoms(),
)
def test_the_order_does_not_matter_and_every_study_is_accounted_for(rows: list[Evidence], shuffler: object) -> None:
    before = derive(rows, str)
    shuffler.shuffle(rows)
    assert derive(rows, str) == before
    assert len({one.picture for one in before.wanted}) == len(before.wanted)
    giving = {verdict // 100 for one in before.wanted for verdict in one.verdict_ids}
    # a study may contradict another on one picture and be right on the next
    assert before.studies - sum(before.without.values()) <= len(giving) <= before.studies


def test_the_key_of_patients_is_made_before_the_first_label_and_never_after(
    settings: Settings, make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    path = settings.data_dir / KEY_FILE
    with Session(sqlite_engine) as session:
        patient_key(settings, session, dry_run=True)
        assert not path.exists()
        key = patient_key(settings, session)
        assert patient_key(settings, session) == key
        picture = LabelledImage(master_digest="m", patient_digest="p", added_at=ago(1))
        session.add(picture)
        session.flush()
        session.add(
            Label(labelled_image_id=picture.id, version=1, label=ILL, origin=LabelOrigin.VERDICT, made_at=ago(1))
        )
        session.commit()
        path.unlink()
        with pytest.raises(Misconfigured, match="put it back from a backup"):
            patient_key(settings, session)
        assert not path.exists()
        chosen = make_settings(patient_key="one that the site chose")
        assert patient_key(chosen, session) == b"one that the site chose"
