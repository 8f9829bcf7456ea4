"""Data sets whose labels stand in a CSV beside DICOM files; docs/data.md describes its columns.

A file is found by its path or by its SOP Instance UID. JPEG and PNG pictures
may stand in the table too, by their path.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from core.errors import RejectedInput
from imaging.reading import Attributes
from imaging.reasons import Rejection
from imaging.text import parse_age
from training.datasets.decoding import Decoders
from training.datasets.files import UNREADABLE, Files, is_rubbish
from training.datasets.items import LABELS, Item, Traits
from training.datasets.patients import dicom_patient, patient_digest, patient_of, subgroup_of
from training.errors import DatasetError

# what JPEG and PNG files begin with; everything else is read as DICOM
PICTURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_SPLITS: Final = {"train": "train", "val": "val", "validation": "val", "test": "test", "": None}
_KEYS: Final = frozenset({"sop_instance_uid", "file"})
_WORD: Final = re.compile(r"[\w .+-]{1,64}")
_SEXES: Final = {
    "f": "F",
    "female": "F",
    "m": "M",
    "male": "M",
    "o": "O",
    "other": "O",
    "u": None,
    "unknown": None,
    "": None,
}
_DAYS_A_YEAR: Final = 365.25
_OLDEST: Final = 150


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table; empty text where a column is absent."""

    line: int
    uid: str
    file: str
    label: str
    patient: str
    split: str | None
    subgroup: str | None
    traits: Traits


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file says of itself; `uid` is None for pictures."""

    uid: str | None
    patient: str | None
    traits: Traits


def find_table(name: str, files: Files) -> str | None:
    """Return the path of the CSV that has our columns, None where there is none.

    Raises
    ------
    DatasetError
        If several have, or one cannot be read.
    """
    candidates = [path for path in files.names if path.lower().endswith(".csv") and not is_rubbish(path)]
    tables = [path for path in candidates if _has_our_columns(_lines(name, files, path))]
    if len(tables) > 1:
        raise DatasetError(f"{name}: {' and '.join(tables)} both have columns of labels; leave one")
    return tables[0] if tables else None


def catalogue(name: str, files: Files, table: str, decoders: Decoders) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """List the images of a table, sorted by key.

    Returns
    -------
    items : tuple of Item
    ignored : tuple of str
        Files beside the table that it does not name.

    Raises
    ------
    DatasetError
        Naming the line or the file that is wrong.
    """
    reader = _Reader(name, files, table, decoders)
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    for row in reader.rows():
        path, known = reader.find(row)
        # one instance may lie there in two files
        for identity in (path, known.uid):
            if identity is not None and lines.setdefault(identity, row.line) != row.line:
                raise reader.wrong(row.line, f"{path} is labelled already in line {lines[identity]}")
        item = _item(row, path, known)
        if (other := items.setdefault(item.key, item)) is not item:
            raise reader.wrong(row.line, f"{path} and {other.path} have one name; use one folder or SOP Instance UIDs")
    if not items:
        raise DatasetError(f"{name}: {table} has no line below its header")
    return tuple(items[key] for key in sorted(items)), tuple(path for path in reader.others if path not in lines)


def _item(row: _Row, path: str, known: _Known) -> Item:
    stem = PurePosixPath(path).stem
    own_name = known.uid if known.uid is not None else PurePosixPath(path).name
    key = "/".join(part for part in (row.split, row.label, own_name) if part)
    if row.patient:
        patient = f"table/{row.patient}"
    elif known.patient is not None:
        patient = f"dicom/{known.patient}"
    else:
        patient = patient_of(stem, row.split)
    said, found = row.traits, known.traits
    traits = Traits(
        sex=said.sex or found.sex,
        age_days=found.age_days if said.age_days is None else said.age_days,
        view=said.view or found.view,
        device=said.device or found.device,
    )
    return Item(key, path, row.label, row.split, patient, row.subgroup or subgroup_of(stem), traits)


class _Reader:
    """A table being read, and the files it speaks of."""

    def __init__(self, name: str, files: Files, table: str, decoders: Decoders) -> None:
        self._name = name
        self._files = files
        self._table = table
        self._decoders = decoders
        self._by_uid: dict[str, list[tuple[str, _Known]]] | None = None
        self.others = [path for path in files.names if path != table and not is_rubbish(path)]
        self._paths = set(self.others)

    def wrong(self, line: int, what: str) -> DatasetError:
        """Say what is wrong in a line."""
        return DatasetError(f"{self._name}: {self._table}, line {line}: {what}")

    def rows(self) -> Iterator[_Row]:
        """Read the table, line by line."""
        lines = csv.reader(_lines(self._name, self._files, self._table), strict=True)
        header = [column.strip().lower() for column in next(lines)]
        for number, column in enumerate(header):
            if column in header[:number]:
                raise self.wrong(1, f"column {column!r} stands there twice")
        try:
            for fields in lines:
                if any(field.strip() for field in fields):
                    yield self._row(lines.line_num, header, fields)
        except csv.Error as error:
            raise self.wrong(lines.line_num, f"is no CSV ({error})") from error

    def _row(self, line: int, header: list[str], fields: list[str]) -> _Row:
        if len(fields) != len(header):
            raise self.wrong(line, f"has {len(fields)} fields where the header has {len(header)}")
        values = {column: field.strip() for column, field in zip(header, fields, strict=True)}
        label = values["label"].upper()
        if label not in LABELS:
            raise self.wrong(line, f"label {values['label']!r} is not in the vocabulary ({', '.join(LABELS)})")
        split = values.get("split", "").lower()
        if split not in _SPLITS:
            raise self.wrong(line, f"split {values['split']!r} is none of train, val and test")
        for column in ("patient", "subgroup", "view", "device"):
            if (value := values.get(column)) and not _WORD.fullmatch(value):
                raise self.wrong(line, f"{column} is no word of at most 64 letters, digits, blanks and . + - _")
        return _Row(
            line,
            values.get("sop_instance_uid", ""),
            values.get("file", ""),
            label,
            values.get("patient", ""),
            _SPLITS[split],
            values.get("subgroup") or None,
            self._traits(line, values),
        )

    def _traits(self, line: int, values: dict[str, str]) -> Traits:
        sex, age = values.get("sex", ""), values.get("age", "")
        if sex.lower() not in _SEXES:
            raise self.wrong(line, f"sex {sex!r} is none of F, M, O and unknown")
        days = _age_days(age)
        if age and days is None:
            raise self.wrong(line, f"age {age!r} is neither years nor an age such as 018M")
        return Traits(_SEXES[sex.lower()], days, values.get("view", "").upper() or None, values.get("device") or None)

    def find(self, row: _Row) -> tuple[str, _Known]:
        """Find the file a line speaks of."""
        if not row.file and not row.uid:
            raise self.wrong(row.line, "names no file and no SOP Instance UID")
        if not row.file:
            found = self._index().get(row.uid, [])
            if len(found) != 1:
                what = "is in no file here" if not found else f"is in {' and '.join(path for path, _ in found)}"
                raise self.wrong(row.line, f"its SOP Instance UID {what}")
            return found[0]
        # as the CSV may stand in a folder of its own, or name files from the top
        beside = (PurePosixPath(self._table).parent / row.file).as_posix()
        path = next((path for path in (beside, row.file) if path in self._paths), None)
        if path is None:
            raise self.wrong(row.line, f"there is no file {row.file}")
        try:
            known = self._look(path)
        except RejectedInput as error:
            raise self.wrong(row.line, f"{path} is no readable image: {error.detail}") from error
        if row.uid and known.uid != row.uid:
            raise self.wrong(row.line, f"{path} holds another SOP Instance UID than the line says")
        return path, known

    def _index(self) -> dict[str, list[tuple[str, _Known]]]:
        """Read every header once."""
        if self._by_uid is None:
            self._by_uid = {}
            for path in self.others:
                try:
                    known = self._look(path)
                except RejectedInput as error:
                    if error.reason in {Rejection.NOT_DICOM, Rejection.EMPTY}:
                        continue
                    raise DatasetError(f"{self._name}: {path} is no readable DICOM file: {error.detail}") from error
                if known.uid is not None:
                    self._by_uid.setdefault(known.uid, []).append((path, known))
        return self._by_uid

    def _look(self, path: str) -> _Known:
        try:
            with self._files.local(path) as file:
                with file.open("rb") as stream:
                    beginning = stream.read(8)
                if beginning.startswith(PICTURES):
                    return _Known(None, None, Traits())
                header = self._decoders.header(file)
        except UNREADABLE as error:
            raise DatasetError(f"{self._name}: {path} cannot be read ({type(error).__name__})") from error
        patient = header.patient_id
        if patient is not None:
            # an identifier is never kept: messages name patients
            patient = patient_digest(dicom_patient(patient, header.issuer_of_patient_id))
        return _Known(header.sop_instance_uid, patient, _traits(header))


def _traits(header: Attributes) -> Traits:
    """Take from a header what figures are given by, and nothing that names a person."""
    device = " ".join(part for part in (header.manufacturer, header.manufacturer_model) if part)
    return Traits(
        sex=_SEXES.get((header.patient_sex or "").lower()),
        age_days=header.patient_age_days,
        view=header.view,
        device=device or None,
    )


def _age_days(text: str) -> int | None:
    """Read years, or an age as DICOM writes it; None if it is neither."""
    try:
        years = float(text)
    except ValueError:
        return parse_age(text)
    return math.ceil(years * _DAYS_A_YEAR) if 0 <= years <= _OLDEST else None


def _lines(name: str, files: Files, path: str) -> io.StringIO:
    try:
        text = files.read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: {path} is not UTF-8; save it as CSV UTF-8") from error
    except UNREADABLE as error:
        raise DatasetError(f"{name}: {path} cannot be read ({type(error).__name__})") from error
    return io.StringIO(text, newline="")


def _has_our_columns(text: io.StringIO) -> bool:
    try:
        columns = {column.strip().lower() for column in next(csv.reader(text), [])}
    except csv.Error:
        return False
    return "label" in columns and bool(columns & _KEYS)
