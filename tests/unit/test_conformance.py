"""The conformance statement says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from core.errors import Misconfigured
from core.settings import Settings
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_listener.rejections import Rejection
from dicom_listener.status import TABLES
from tests.tools import conformance
from tests.tools.conformance import DOCUMENT, SECTIONS, fill

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_it_is_current() -> None:
    assert fill(TEXT) == TEXT, "say make conformance"


def test_every_table_of_the_code_is_in_it() -> None:
    for syntax in SUPPORTED_TRANSFER_SYNTAXES:
        assert f"`{syntax}`" in TEXT
    for rejection in Rejection:
        assert rejection.value.when in TEXT
    for table in TABLES.values():
        for status in table:
            assert status.comment in TEXT
            assert f"`0x{status.code:04X}`" in TEXT


def test_every_setting_it_names_exists() -> None:
    named = {name.lower() for name in re.findall(r"LUNGWATCH_([A-Z_]{2,})", TEXT)}
    assert named - set(Settings.model_fields) == set()


def test_a_section_too_many_or_too_few_is_noticed() -> None:
    with pytest.raises(Misconfigured, match="colour"):
        fill(TEXT.replace("from the code: limits", "from the code: colour"))
    with pytest.raises(Misconfigured, match="limits"):
        fill(TEXT + "<!-- from the code: limits -->\n<!-- end -->\n")


def test_make_brings_it_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "conformance.md"
    copy.write_text(re.sub(r"\| 1 \| Explicit VR.*\n", "", TEXT), encoding="utf-8")
    assert copy.read_text(encoding="utf-8") != TEXT
    monkeypatch.setattr(conformance, "DOCUMENT", copy)
    with pytest.raises(typer.Exit):
        conformance.main(check=True)
    assert copy.read_text(encoding="utf-8") != TEXT
    conformance.main(check=False)
    assert copy.read_text(encoding="utf-8") == TEXT
    conformance.main(check=True)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_each_section_is_a_table(name: str) -> None:
    lines = SECTIONS[name]().splitlines()
    assert lines[1].startswith("|---|")
    columns = lines[0].count("|")
    rows = lines[2 : lines.index("") if "" in lines else None]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == columns for row in rows)
