from __future__ import annotations

import pytest

from db import views


@pytest.mark.parametrize("dialect", views.DIALECTS)
def test_every_view_is_made(dialect: str) -> None:
    made = views.statements(dialect)
    assert [statement.split()[2] for statement in made] == list(reversed(views.NAMES))


def test_the_digest_is_of_all_statements() -> None:
    assert len(views.digest()) == 64
    assert views.digest() == views.digest()


@pytest.mark.parametrize("dialect", views.DIALECTS)
def test_no_patient_name_is_shown(dialect: str) -> None:
    assert "patient_name" not in "".join(views.statements(dialect))
