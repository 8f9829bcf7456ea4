from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ae_titles import checked_ae_title, printable_ae_title


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        (None, None),
        ("", None),
        ("    ", None),
        (" PACS ", "PACS"),
        ("A\nB", "A?B"),
        ("A\\B", "A?B"),
        ("\x1b[2J", "?[2J"),
        ("R\xf6ntgen", "R?ntgen"),
        ("X" * 40, "X" * 16),
    ],
)
def test_titles(received: str | None, shown: str | None) -> None:
    assert printable_ae_title(received) == shown


@given(st.text())
def test_anything_becomes_harmless(received: str) -> None:
    shown = printable_ae_title(received)
    assert shown is None or (shown.isascii() and shown.isprintable() and 0 < len(shown) <= 16 and "\\" not in shown)


@pytest.mark.parametrize(("written", "title"), [("PACS1", "PACS1"), (" A B ", "A B"), ("X" * 16, "X" * 16)])
def test_configured_titles(written: str, title: str) -> None:
    assert checked_ae_title(written) == title


@pytest.mark.parametrize("written", ["", "  ", "X" * 17, "A\\B", "A\nB", "R\xf6ntgen", "A\0"])
def test_what_is_no_title_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="1 to 16 printable"):
        checked_ae_title(written)
