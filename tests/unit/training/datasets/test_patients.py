from __future__ import annotations

import pytest

from training.datasets.patients import Split, patient_digest, patient_of, split_of, subgroup_of


@pytest.mark.parametrize(
    ("stem", "split", "patient", "subgroup"),
    [
        ("person1234_bacteria_5678", "train", "train/person1234", "bacterial"),
        ("person1234_virus_99", "val", "train/person1234", "viral"),
        ("person1234_virus_99_1", None, "train/person1234", "viral"),
        ("person1_virus_6", "test", "test/person1", "viral"),
        ("IM-0115-0001", "train", "train/IM-0115", None),
        ("IM-0115-0001-0002", "train", "train/IM-0115", None),
        ("NORMAL2-IM-0173-0001-0002", "train", "train/NORMAL2-IM-0173", None),
        ("NORMAL2-IM-0173-0001", "test", "test/NORMAL2-IM-0173", None),
        ("BACTERIA-1008087-0001", "train", "train/1008087", "bacterial"),
        ("VIRUS-1018048-0002", "test", "test/1018048", "viral"),
        ("NORMAL-1003233-0001", "train", "train/1003233", None),
        ("holiday", None, "train/holiday", None),
    ],
)
def test_a_file_name_carries_the_patient(stem: str, split: str | None, patient: str, subgroup: str | None) -> None:
    assert patient_of(stem, split) == patient
    assert subgroup_of(stem) == subgroup


def test_a_patient_never_moves() -> None:
    # written down once: a change of key, hash or shares would move children between train and test
    assert [split_of(f"train/person{number}") for number in (1, 2, 3, 5, 7, 11, 19, 23)] == PLACES


PLACES = [Split(word) for word in ["fit", "watch", "fit", "fit", "test", "fit", "test", "watch"]]


def test_shares_come_out_as_intended() -> None:
    places = [split_of(f"train/person{number}") for number in range(20_000)]
    shares = {split: places.count(split) / len(places) for split in Split}
    assert shares[Split.TEST] == pytest.approx(0.15, abs=0.01)
    assert shares[Split.VALIDATION] == pytest.approx(0.15, abs=0.01)
    assert shares[Split.WATCH] == pytest.approx(0.08, abs=0.01)
    assert shares[Split.RESERVED] == 0


def test_another_key_splits_otherwise_and_hides_otherwise() -> None:
    patients = [f"train/person{number}" for number in range(100)]
    assert [split_of(patient) for patient in patients] != [split_of(patient, b"other") for patient in patients]
    assert patient_digest("train/person1") != patient_digest("train/person1", b"other")
    assert len({patient_digest(patient) for patient in patients}) == 100
