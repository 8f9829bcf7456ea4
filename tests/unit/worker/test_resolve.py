from __future__ import annotations

import pytest

from db.vocabulary import Outcome
from worker.resolve import (
    Delivered,
    InForce,
    Nature,
    Pixels,
    Resolution,
    is_duplicate,
    needs_every_pixel,
    needs_pixels,
    resolve,
)

PIXELS = Pixels("master", "decoded", "input")
OTHER = Pixels("master-2", "decoded-2", "input-2")


NOT_DECODED = Pixels()
ANOTHER_CLASS = {"sop_class_uid": "another"}


def in_force(outcome: Outcome, reason: str | None = None, pixels: Pixels = PIXELS) -> InForce:
    return InForce("study", "class", outcome, reason, "bytes", pixels)


def delivered(nature: Nature, pixels: Pixels = PIXELS, **other: object) -> Delivered:
    fields = {"study_uid": "study", "sop_class_uid": "class", "dataset_sha256": "other bytes", **other}
    return Delivered(nature=nature, pixels=pixels, **fields)  # type: ignore[arg-type]


def test_the_first_of_its_kind_comes_into_force() -> None:
    for nature in Nature:
        assert resolve(None, delivered(nature)) is Resolution.FIRST


@pytest.mark.parametrize(
    ("outcome", "nature", "pixels", "expected"),
    [
        (Outcome.SUSPECTED, Nature.MASTER, PIXELS, Resolution.HEADER_REVISION),
        (Outcome.NOT_SUSPECTED, Nature.MASTER, OTHER, Resolution.CONFLICT),
        (Outcome.SUSPECTED, Nature.OUT_OF_SCOPE, PIXELS, Resolution.HEADER_REVISION),
        (Outcome.SUSPECTED, Nature.OUT_OF_SCOPE, NOT_DECODED, Resolution.CONFLICT),
        (Outcome.SUSPECTED, Nature.REJECTED, NOT_DECODED, Resolution.UNREADABLE),
        (Outcome.OUT_OF_SCOPE, Nature.MASTER, PIXELS, Resolution.REPLACE),
        (Outcome.OUT_OF_SCOPE, Nature.MASTER, OTHER, Resolution.CONFLICT),
        (Outcome.OUT_OF_SCOPE, Nature.OUT_OF_SCOPE, PIXELS, Resolution.REPLACE),
        (Outcome.OUT_OF_SCOPE, Nature.OUT_OF_SCOPE, NOT_DECODED, Resolution.CONFLICT),
        (Outcome.OUT_OF_SCOPE, Nature.REJECTED, NOT_DECODED, Resolution.UNREADABLE),
        (Outcome.NO_RESULT, Nature.MASTER, PIXELS, Resolution.REPLACE),
        (Outcome.NO_RESULT, Nature.MASTER, OTHER, Resolution.CONFLICT),
        (Outcome.NO_RESULT, Nature.OUT_OF_SCOPE, PIXELS, Resolution.REPLACE),
        (Outcome.NO_RESULT, Nature.OUT_OF_SCOPE, NOT_DECODED, Resolution.CONFLICT),
        (Outcome.NO_RESULT, Nature.REJECTED, NOT_DECODED, Resolution.UNREADABLE),
    ],
)
def test_other_bytes_of_an_image_that_was_decoded(
    outcome: Outcome, nature: Nature, pixels: Pixels, expected: Resolution
) -> None:
    assert resolve(in_force(outcome), delivered(nature, pixels)) is expected


@pytest.mark.parametrize(
    ("outcome", "nature", "other", "expected"),
    [
        (Outcome.NO_RESULT, Nature.MASTER, {}, Resolution.REPLACE),
        (Outcome.NO_RESULT, Nature.OUT_OF_SCOPE, {}, Resolution.REPLACE),
        (Outcome.NO_RESULT, Nature.REJECTED, {}, Resolution.REPLACE),
        (Outcome.NO_RESULT, Nature.MASTER, ANOTHER_CLASS, Resolution.CONFLICT),
        (Outcome.NO_RESULT, Nature.OUT_OF_SCOPE, ANOTHER_CLASS, Resolution.CONFLICT),
        (Outcome.NO_RESULT, Nature.OUT_OF_SCOPE, {"is_image": False}, Resolution.CONFLICT),
        (Outcome.NO_RESULT, Nature.REJECTED, ANOTHER_CLASS, Resolution.CONFLICT),
        (Outcome.PENDING, Nature.MASTER, {}, Resolution.REPLACE),
        (Outcome.OUT_OF_SCOPE, Nature.MASTER, {}, Resolution.REPLACE),
        (Outcome.OUT_OF_SCOPE, Nature.MASTER, ANOTHER_CLASS, Resolution.REPLACE),
        (Outcome.OUT_OF_SCOPE, Nature.OUT_OF_SCOPE, {}, Resolution.REPLACE),
        (Outcome.OUT_OF_SCOPE, Nature.REJECTED, {}, Resolution.UNREADABLE),
        (Outcome.OUT_OF_SCOPE, Nature.REJECTED, ANOTHER_CLASS, Resolution.REPLACE),
    ],
)
def test_other_bytes_of_an_object_that_was_not_decoded(
    outcome: Outcome, nature: Nature, other: dict[str, object], expected: Resolution
) -> None:
    pixels = PIXELS if nature is Nature.MASTER else NOT_DECODED
    assert resolve(in_force(outcome, pixels=NOT_DECODED), delivered(nature, pixels, **other)) is expected


@pytest.mark.parametrize("outcome", [Outcome.SUSPECTED, Outcome.OUT_OF_SCOPE, Outcome.NO_RESULT])
@pytest.mark.parametrize("nature", Nature)
def test_another_study_conflicts(outcome: Outcome, nature: Nature) -> None:
    assert resolve(in_force(outcome), delivered(nature, study_uid="another")) is Resolution.CONFLICT


@pytest.mark.parametrize("known", [Pixels(master="master"), Pixels(decoded="decoded"), Pixels(model_input="input")])
def test_one_equal_digest_is_enough_and_none_is_not(known: Pixels) -> None:
    assert PIXELS.same_as(known)
    assert not OTHER.same_as(known)
    assert not Pixels().same_as(Pixels())


@pytest.mark.parametrize(
    ("outcome", "reason", "put_back", "expected"),
    [
        (Outcome.SUSPECTED, None, False, True),
        (Outcome.OUT_OF_SCOPE, "VIEW", False, True),
        (Outcome.NO_RESULT, "TRUNCATED", False, True),
        (Outcome.NO_RESULT, "CRASHED", False, False),
        (Outcome.NO_RESULT, "TIMED_OUT", False, False),
        (Outcome.NO_RESULT, "TRUNCATED", True, False),
        (Outcome.PENDING, None, False, False),
    ],
)
def test_the_same_bytes(outcome: Outcome, reason: str | None, put_back: bool, expected: bool) -> None:
    assert is_duplicate(in_force(outcome, reason), "bytes", put_back=put_back) is expected


@pytest.mark.parametrize("nature", [Nature.MASTER, Nature.OUT_OF_SCOPE])
@pytest.mark.parametrize("reason", ["CRASHED", "INFERENCE_FAILED"])
def test_the_same_bytes_make_good_also_where_another_decoder_gives_other_digests(nature: Nature, reason: str) -> None:
    first = in_force(Outcome.NO_RESULT, reason)
    # decoded at reduced resolution now, in full then; or by a decoder that rounds differently
    for pixels in (Pixels("reduced master"), OTHER, NOT_DECODED):
        again = delivered(nature, pixels, dataset_sha256="bytes")
        assert resolve(first, again) is Resolution.REPLACE
        assert resolve(first, delivered(nature, pixels)) is Resolution.CONFLICT


def test_bytes_without_digest_are_never_a_duplicate() -> None:
    assert not is_duplicate(in_force(Outcome.SUSPECTED), None, put_back=False)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("nature", Nature)
def test_only_what_would_take_a_decoded_images_place_must_show_its_pixels(outcome: Outcome, nature: Nature) -> None:
    assert needs_pixels(in_force(outcome), nature) is (nature is Nature.OUT_OF_SCOPE)
    assert not needs_pixels(in_force(outcome, pixels=NOT_DECODED), nature)
    assert not needs_pixels(None, nature)


REDUCED = Pixels("master", None)


@pytest.mark.parametrize(
    ("first", "second", "needed"),
    [
        (PIXELS, PIXELS, False),
        (PIXELS, OTHER, False),
        (REDUCED, PIXELS, True),
        (PIXELS, REDUCED, True),
        # also where the masters are the same: what was left undecoded may differ
        (REDUCED, REDUCED, True),
        (NOT_DECODED, REDUCED, False),
        (REDUCED, NOT_DECODED, False),
    ],
)
def test_what_was_decoded_at_reduced_resolution_proves_nothing(first: Pixels, second: Pixels, *, needed: bool) -> None:
    assert needs_every_pixel(in_force(Outcome.SUSPECTED, pixels=first), delivered(Nature.MASTER, second)) is needed


def test_the_same_bytes_and_another_study_need_no_full_decode() -> None:
    first = in_force(Outcome.PENDING, pixels=REDUCED)
    assert not needs_every_pixel(None, delivered(Nature.MASTER, REDUCED))
    assert not needs_every_pixel(first, delivered(Nature.MASTER, REDUCED, dataset_sha256="bytes"))
    assert not needs_every_pixel(first, delivered(Nature.MASTER, REDUCED, study_uid="another"))
