from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_listener.peers import printable_ae_title


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
