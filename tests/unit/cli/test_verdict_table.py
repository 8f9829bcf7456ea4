from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli import verdict_table
from cli.verdict_table import Defaults, Table, TableRefused, read_table
from db.verdict_import import Line, Misfit
from db.vocabulary import VerdictKind

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BERLIN = Defaults(None, None, ZoneInfo("Europe/Berlin"))
HEADER = "study_uid,accession_number,reader,read_at,verdict,model_visible,comment,revision"
GOOD = "1.2.3,A1,Dr. Smith,2026-11-01 08:00,PNEUMONIA,no,left base,2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "verdicts.csv"


def table(file: Path, *lines: str, header: str = HEADER, defaults: Defaults = BERLIN) -> Table:
    file.write_bytes("\n".join([header, *lines]).encode())
    return read_table(file, defaults, NOW)


def test_a_line_is_read(file: Path) -> None:
    read = table(file, GOOD)
    assert read.problems == ()
    assert read.lines == (
        Line(
            2,
            "1.2.3",
            "A1",
            "dr. smith",
            datetime(2026, 11, 1, 7, tzinfo=UTC),
            VerdictKind.PNEUMONIA,
            False,
            "left base",
            2,
        ),
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_as_spreadsheets_write_them(file: Path, delimiter: str, bom: str, end: str) -> None:
    columns = [" Verdict", "READ_AT", "accession_number", "Room"]
    values = ["no pneumonia", "2026-11-01T08:00+01:00", "0012", "7"]
    text = bom + end.join(delimiter.join(row) for row in (columns, values, ["", "", "", ""]))
    file.write_bytes(text.encode())
    read = read_table(file, Defaults("reader", True, None), NOW)
    (line,) = read.lines
    assert (line.accession_number, line.verdict, line.reader, line.model_visible) == (
        "0012",
        VerdictKind.NO_PNEUMONIA,
        "reader",
        True,
    )
    assert read.ignored == ("room",)


def test_each_line_that_is_wrong_is_named_with_the_line_it_begins_in(file: Path) -> None:
    read = table(
        file,
        GOOD.replace("left base", '"left\nbase"'),
        GOOD.replace("PNEUMONIA", "ILL"),
        "",
        GOOD.replace("2026-11-01 08:00", "2026-11-01"),
        GOOD.replace("Dr. Smith", ""),
        GOOD.replace("left base", "=HYPERLINK(0)"),
        GOOD + ",9",
        GOOD.replace("no,", "perhaps,"),
        GOOD.removesuffix("2") + "two",
        GOOD.replace("1.2.3,A1", ","),
        GOOD.replace("1.2.3,A1", "=1.2.3,"),
        GOOD.replace("1.2.3,A1", ",A\x1b1"),
        GOOD.replace("A1", "A" * 65),
    )
    assert [line.number for line in read.lines] == [2]
    assert read.lines[0].comment == "left base"
    assert [(problem.line, problem.kind) for problem in read.problems] == [
        (4, Misfit.BAD_VERDICT),
        (6, Misfit.BAD_TIME),
        (7, Misfit.BAD_READER),
        (8, Misfit.BAD_COMMENT),
        (9, Misfit.BAD_LINE),
        (10, Misfit.BAD_VALUE),
        (11, Misfit.BAD_VALUE),
        (12, Misfit.BAD_VALUE),
        (13, Misfit.BAD_VALUE),
        (14, Misfit.BAD_VALUE),
        (15, Misfit.BAD_VALUE),
    ]
    # promise 13: what is said of a line quotes nothing of it
    said = " ".join(problem.detail for problem in read.problems)
    assert not any(secret in said for secret in ("1.2.3", "A1", "Smith", "HYPERLINK", "ILL"))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-01T08:00", "2026-11-01T07:00"),
        ("2026-07-01 08:00:30.5", "2026-07-01T06:00:30.5"),
        ("2026-11-01T08:00Z", "2026-11-01T08:00"),
        ("2026-11-01T08:00-05:00", "2026-11-01T13:00"),
        ("", None),
        ("8:00", None),
        ("20261101T0800", None),
        ("2026-11-31T08:00", None),
        ("01.11.2026 08:00", None),
        ("0001-01-01T00:00", None),
        ("9999-12-31T23:59", None),
        # the clocks show these twice, and never
        ("2026-10-25T02:30", None),
        ("2026-03-29T02:30", None),
    ],
)
def test_times(file: Path, text: str, utc: str | None) -> None:
    read = table(file, GOOD.replace("2026-11-01 08:00", text))
    if utc is None:
        assert [problem.kind for problem in read.problems] == [Misfit.BAD_TIME]
    else:
        assert read.lines[0].read_at == datetime.fromisoformat(utc).replace(tzinfo=UTC)


def test_nothing_is_read_in_the_future(file: Path) -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    assert table(file, GOOD.replace("2026-11-01 08:00", later)).problems[0].kind is Misfit.BAD_TIME


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: there is no column read_at, verdict"),
        ("study_uid,verdict\n".encode("utf-16"), "line 1: the file is UTF-16"),
        (HEADER.encode() + b"\n\n1.2.3,M\xfcller", "line 3: is not UTF-8"),
        (HEADER.encode() + b"\nA\0B", "line 2: holds a NUL byte"),
        (HEADER.encode() + b'\n"1.2.3"x,', "line 2: is no CSV"),
        (HEADER.encode() + b'\n\n"1.2.3', "line 3: is no CSV"),
        (HEADER.encode() + b"\n" + b"a" * 200_000, "line 2: is no CSV"),
        (HEADER.encode(), "no line below the header"),
        (HEADER.encode() + b",reader\n", "line 1: the column reader stands there twice"),
        (b"reader,read_at,verdict,model_visible\n", "no column study_uid or accession_number"),
        (b"study_uid,read_at,verdict\n", r"reader \(or give --reader\), model_visible \(or give --blind"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_with_its_line(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(TableRefused, match=said):
        read_table(file, BERLIN, NOW)


def test_huge_files_are_refused_before_they_fill_the_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_table, "MOST_LINES", 3)
    with pytest.raises(TableRefused, match="line 5: more than 3 verdicts"):
        table(file, *[GOOD] * 4)
    with file.open("wb") as stream:
        stream.truncate(verdict_table.MOST_BYTES + 1)
    with pytest.raises(TableRefused, match="more than 64 MiB"):
        read_table(file, BERLIN, NOW)
