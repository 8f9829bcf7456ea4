from __future__ import annotations

import pytest

from db.chunks import AT_ONCE, in_chunks


@pytest.mark.parametrize("count", [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_every_value_comes_once_in_order_and_never_too_many_at_a_time(count: int) -> None:
    chunks = list(in_chunks(iter(range(count))))
    assert [value for chunk in chunks for value in chunk] == list(range(count))
    assert all(0 < len(chunk) <= AT_ONCE for chunk in chunks)
