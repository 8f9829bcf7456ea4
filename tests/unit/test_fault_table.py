from __future__ import annotations

from tests.tools.fault_table import PAGE, ROWS, named_by_row, page


def test_no_row_has_lost_its_tests() -> None:
    named = {row for row, files in named_by_row().items() if files}
    assert set(ROWS) - named == set(), "rows without a test"
    assert named - set(ROWS) == set(), "tests named for rows the page does not have"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.tools.fault_table"
