from __future__ import annotations

import pytest

from core.uids import LONGEST_UID, is_uid


@pytest.mark.parametrize(
    "uid", ["1.2", "1.2.840.10008.1.1", "2.25." + "9" * 39, "0.0", "01.2", "1.02", "1." + "1" * (LONGEST_UID - 2)]
)
def test_valid_uids(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize(
    "uid",
    ["", "1", "1.", ".1", "1..2", "1.a", "1.2/../../a", "../x", "1.2\n", "1.2 ", "1." + "1" * 63, "1.٢", "1.2\\1.3"],
)
def test_invalid_uids(uid: str) -> None:
    assert not is_uid(uid)
