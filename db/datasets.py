"""Imported data sets and labels: what an import would do, and doing it in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from core.errors import TransientFailure
from db.base import database_now
from db.chunks import in_chunks
from db.inserting import insert as insert_or_not
from db.models.dataset import DataSet, DataSetImage, Label, LabelledImage
from db.removal import note_kept_again
from db.vocabulary import DataLayout, ImageClass, LabelOrigin, PublishedSplit, Use


@dataclass(frozen=True, slots=True)
class NewDataSet:
    """A data set to import.

    Attributes
    ----------
    digest : str
        SHA-256 that tells this content from any other; the same content is imported once.
    origin : str
        Where it came from, in words.
    """

    name: str
    digest: str
    layout: DataLayout
    origin: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a data set to import; see the columns of `db.models.dataset`."""

    key: str
    file_sha256: str
    master_digest: str
    patient_digest: str
    label: ImageClass
    subgroup: str | None
    published_split: PublishedSplit | None
    use: Use

    @property
    def picture(self) -> tuple[str, str]:
        """What makes it one image: the pixels and the patient."""
        return self.master_digest, self.patient_digest


@dataclass(frozen=True, slots=True)
class Change:
    """A label that an import says otherwise than the ledger."""

    key: str
    old: ImageClass
    old_subgroup: str | None
    new: ImageClass
    new_subgroup: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import does.

    Attributes
    ----------
    imported_before : datetime or None
        When this very content was imported; nothing is done then.
    version : int
        That the data set has or gets.
    new_images, new_labels : int
        Rows of pictures and first labels.
    changed : tuple of Change
        Labels that get another version.
    """

    imported_before: datetime | None
    version: int
    new_images: int = 0
    new_labels: int = 0
    changed: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Current:
    """An image of a data set in force, with the label in force."""

    data_set: str
    key: str
    master_digest: str
    patient_digest: str
    label: ImageClass
    subgroup: str | None
    published_split: PublishedSplit | None
    use: Use


@dataclass(frozen=True, slots=True)
class _Known:
    """A picture in the ledger; version 0 where it never had a label, no label where none is in force."""

    id: int
    version: int
    label: ImageClass | None
    subgroup: str | None


def find(session: Session, digest: str) -> DataSet | None:
    """Return the data set that was imported with this content."""
    return session.scalars(select(DataSet).where(DataSet.digest == digest)).first()


def masters_of(session: Session, data_set_id: int) -> dict[str, str]:
    """Return the master digests of a data set's images by key."""
    rows = session.execute(
        select(DataSetImage.key, LabelledImage.master_digest)
        .join(LabelledImage, DataSetImage.labelled_image_id == LabelledImage.id)
        .where(DataSetImage.data_set_id == data_set_id)
    )
    return {key: digest for key, digest in rows}  # noqa: C416 - rows are not pairs to mypy


def plan(session: Session, new: NewDataSet, entries: Sequence[Entry]) -> Plan:
    """Say what `record` would do, and change nothing."""
    if (found := find(session, new.digest)) is not None:
        return Plan(found.imported_at, found.version)
    return _compare(entries, _known(session, entries), _next_version(session, new.name))


def record(session: Session, new: NewDataSet, entries: Sequence[Entry]) -> Plan:
    """Enter a data set, its images and their labels; the caller commits, all or nothing.

    Safe to repeat: the same content changes nothing. A label that is another
    than the ledger's becomes its next version; none is ever changed.

    Raises
    ------
    TransientFailure
        If another import entered the same images meanwhile.
    """
    try:
        return _record(session, new, entries)
    except IntegrityError as error:
        raise TransientFailure("another import entered the same images meanwhile") from error


def current(session: Session) -> list[Current]:
    """Return the images of the newest version of every data set with their labels in force, by data set and key."""
    newer, later = aliased(DataSet), aliased(Label)
    query = (
        select(
            DataSet.name,
            DataSetImage.key,
            LabelledImage.master_digest,
            LabelledImage.patient_digest,
            Label.label,
            Label.subgroup,
            DataSetImage.published_split,
            DataSetImage.use,
        )
        .join(DataSetImage, DataSetImage.data_set_id == DataSet.id)
        .join(LabelledImage, DataSetImage.labelled_image_id == LabelledImage.id)
        .join(Label, Label.labelled_image_id == LabelledImage.id)
        .outerjoin(newer, and_(newer.name == DataSet.name, newer.version > DataSet.version))
        .outerjoin(later, and_(later.labelled_image_id == Label.labelled_image_id, later.version > Label.version))
        .where(newer.id.is_(None), later.id.is_(None), ~Label.withdrawn)
        .order_by(DataSet.name, DataSetImage.key)
    )
    return [Current(*row) for row in session.execute(query)]


def _record(session: Session, new: NewDataSet, entries: Sequence[Entry]) -> Plan:
    now = session.scalar(select(database_now()))
    version = _next_version(session, new.name)
    row = {
        "name": new.name,
        "version": version,
        "digest": new.digest,
        "layout": new.layout,
        "origin": new.origin,
        "images": len(entries),
        "imported_at": now,
    }
    # of two imports of one content the second waits here for the first, and then finds it done
    made = session.execute(
        insert_or_not(session, DataSet)
        .values(row)
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(DataSet.id)
    ).scalar()
    if made is None:
        return plan(session, new, ())
    for masters in in_chunks(sorted({entry.master_digest for entry in entries})):
        note_kept_again(session, masters)
    known = _known(session, entries)
    decided = _compare(entries, known, version)
    pictures = dict.fromkeys(entry.picture for entry in entries if entry.picture not in known)
    rows: list[dict[str, Any]]
    rows = [{"master_digest": master, "patient_digest": patient, "added_at": now} for master, patient in pictures]
    _insert(session, LabelledImage, rows)
    ids = _known(session, entries)
    rows = [
        {
            "labelled_image_id": ids[entry.picture].id,
            "version": ids[entry.picture].version + 1,
            "label": entry.label,
            "subgroup": entry.subgroup,
            "origin": LabelOrigin.IMPORTED,
            "data_set_id": made,
            "made_at": now,
        }
        for entry in _said(entries)
        if (ids[entry.picture].label, ids[entry.picture].subgroup) != (entry.label, entry.subgroup)
    ]
    _insert(session, Label, rows)
    rows = [
        {
            "data_set_id": made,
            "labelled_image_id": ids[entry.picture].id,
            "key": entry.key,
            "file_sha256": entry.file_sha256,
            "published_split": entry.published_split,
            "use": entry.use,
        }
        for entry in entries
    ]
    _insert(session, DataSetImage, rows)
    return decided


def _said(entries: Sequence[Entry]) -> Iterable[Entry]:
    """Return one entry a picture, the first: a patient may have the same picture twice."""
    first: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        first.setdefault(entry.picture, entry)
    return first.values()


def _compare(entries: Sequence[Entry], known: dict[tuple[str, str], _Known], version: int) -> Plan:
    changed = []
    first = 0
    pictures = list(_said(entries))
    for entry in pictures:
        found = known.get(entry.picture)
        if found is None or found.label is None:
            first += 1
        elif (found.label, found.subgroup) != (entry.label, entry.subgroup):
            changed.append(Change(entry.key, found.label, found.subgroup, entry.label, entry.subgroup))
    new_images = sum(entry.picture not in known for entry in pictures)
    return Plan(None, version, new_images, first, tuple(changed))


def _next_version(session: Session, name: str) -> int:
    return (session.scalar(select(func.max(DataSet.version)).where(DataSet.name == name)) or 0) + 1


def _known(session: Session, entries: Sequence[Entry]) -> dict[tuple[str, str], _Known]:
    """Return the pictures among these that the ledger has, with their labels in force."""
    later = aliased(Label)
    found = {}
    for masters in in_chunks(sorted({entry.master_digest for entry in entries})):
        rows = session.execute(
            select(LabelledImage, Label.version, Label.label, Label.subgroup, Label.withdrawn)
            .outerjoin(Label, Label.labelled_image_id == LabelledImage.id)
            .outerjoin(later, and_(later.labelled_image_id == Label.labelled_image_id, later.version > Label.version))
            .where(LabelledImage.master_digest.in_(masters), later.id.is_(None))
        )
        for image, version, label, subgroup, withdrawn in rows:
            said = (None, None) if withdrawn else (label, subgroup)
            found[image.master_digest, image.patient_digest] = _Known(image.id, version or 0, *said)
    return found


def _insert(session: Session, table: type[Any], rows: list[dict[str, Any]]) -> None:
    if rows:
        session.execute(insert(table), rows)
