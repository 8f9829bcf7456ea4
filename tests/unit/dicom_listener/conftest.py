from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.dicom_listener.forks import Children


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as children:
        yield children
