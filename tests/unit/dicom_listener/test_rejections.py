from __future__ import annotations

import pytest

from dicom_listener.rejections import REASONS, RESULTS, SOURCES, Rejection, in_words


@pytest.mark.parametrize("rejection", list(Rejection))
def test_each_is_one_the_standard_defines(rejection: Rejection) -> None:
    result, source, reason = rejection.numbers
    assert result in RESULTS
    assert source in SOURCES
    assert (source, reason) in REASONS


def test_none_is_an_alias_of_another() -> None:
    assert len(Rejection) == len(Rejection.__members__)


def test_the_numbers_of_table_9_21() -> None:
    assert {rejection.name: rejection.numbers for rejection in Rejection} == {
        "APPLICATION_CONTEXT": (1, 1, 2),
        "CALLING_AE_TITLE": (1, 1, 3),
        "CERTIFICATE": (1, 1, 3),
        "CALLED_AE_TITLE": (1, 1, 7),
        "PROTOCOL_VERSION": (1, 2, 2),
        "NO_SPACE": (2, 3, 1),
        "DRAINING": (2, 3, 1),
        "LIMIT": (2, 3, 2),
        "PEER_LIMIT": (2, 3, 2),
    }


def test_words() -> None:
    assert Rejection.CALLED_AE_TITLE.words == (
        "rejected-permanent by the DICOM UL service-user: called-AE-title-not-recognized (1/1/7)"
    )
    assert "(9/9/9)" in in_words(9, 9, 9)
    assert "reserves" in in_words(1, 3, 7)
