"""Labels made from verdicts: entering them as versions, and listing all there are.

What a label is to be is decided in `training.labels.derive`; here nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from core.errors import TransientFailure
from db.base import database_now
from db.chunks import in_chunks
from db.models.dataset import DataSet, Label, LabelledImage, LabelVerdict
from db.vocabulary import ImageClass, LabelOrigin


@dataclass(frozen=True, slots=True)
class Wanted:
    """A label that verdicts give a picture."""

    master_digest: str
    patient_digest: str
    label: ImageClass
    subgroup: str | None
    verdict_ids: frozenset[int]

    @property
    def picture(self) -> tuple[str, str]:
        """What makes it one image: the pixels and the patient."""
        return self.master_digest, self.patient_digest


@dataclass(frozen=True, slots=True)
class Changes:
    """What entering labels does.

    Attributes
    ----------
    first : int
        Pictures that had no label in force.
    changed : int
        Labels that say something else from now on.
    rebased : int
        Labels that say the same, from other verdicts.
    withdrawn : int
        Labels that the verdicts no longer give; a label that was imported before is in force again.
    unchanged : int
    """

    first: int = 0
    changed: int = 0
    rebased: int = 0
    withdrawn: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label in force, and what it was made from."""

    label_id: int
    master_digest: str
    patient_digest: str
    version: int
    label: ImageClass
    subgroup: str | None
    origin: LabelOrigin
    data_set: str | None
    verdict_ids: tuple[int, ...]
    made_at: datetime


@dataclass(frozen=True, slots=True)
class _Known:
    """A picture in the ledger and its newest label; version 0 where it never had one."""

    image_id: int
    version: int
    label: ImageClass | None
    subgroup: str | None
    from_verdicts: bool
    verdict_ids: frozenset[int]


def plan(session: Session, wanted: Sequence[Wanted]) -> Changes:
    """Say what `record` would do, and change nothing."""
    known = _known(session, wanted)
    return _changes(wanted, known)


def record(session: Session, wanted: Sequence[Wanted]) -> Changes:
    """Let the labels made from verdicts be these and no others; the caller commits, all or nothing.

    Safe to repeat: what is in force already gets no new version. Labels that
    were imported stay, where no verdict says anything of their picture.

    Parameters
    ----------
    wanted : sequence of Wanted
        One a picture.

    Raises
    ------
    TransientFailure
        If somebody else entered labels of the same pictures meanwhile.
    """
    try:
        return _record(session, wanted)
    except IntegrityError as error:
        raise TransientFailure("somebody else entered labels of the same images meanwhile") from error


def labels(
    session: Session, *, origin: LabelOrigin | None = None, limit: int | None = 100, after_id: int | None = None
) -> list[LabelRow]:
    """Return labels in force, those made last first.

    Parameters
    ----------
    origin : LabelOrigin, optional
        Only those made from this.
    limit : int or None
        Rows a page; None for all.
    after_id : int, optional
        `label_id` of the last row of the page before.
    """
    later = aliased(Label)
    query = (
        select(Label, LabelledImage, DataSet.name, DataSet.version)
        .join(LabelledImage, LabelledImage.id == Label.labelled_image_id)
        .outerjoin(DataSet, DataSet.id == Label.data_set_id)
        .outerjoin(later, and_(later.labelled_image_id == Label.labelled_image_id, later.version > Label.version))
        .where(later.id.is_(None), ~Label.withdrawn)
        .order_by(Label.id.desc())
        .limit(limit)
    )
    if origin is not None:
        query = query.where(Label.origin == origin)
    if after_id is not None:
        query = query.where(Label.id < after_id)
    rows = session.execute(query).all()
    made_from = _verdicts_of(session, [row[0].id for row in rows])
    return [
        LabelRow(
            label_id=label.id,
            master_digest=image.master_digest,
            patient_digest=image.patient_digest,
            version=label.version,
            label=label.label,
            subgroup=label.subgroup,
            origin=label.origin,
            data_set=None if label.data_set_id is None else f"{name} {version}",
            verdict_ids=tuple(sorted(made_from.get(label.id, ()))),
            made_at=label.made_at,
        )
        for label, image, name, version in rows
    ]


def _record(session: Session, wanted: Sequence[Wanted]) -> Changes:
    now = session.scalars(select(database_now())).one()
    known = _known(session, wanted)
    changes = _changes(wanted, known)
    missing = [one.picture for one in wanted if one.picture not in known]
    rows: list[dict[str, Any]]
    rows = [{"master_digest": master, "patient_digest": patient, "added_at": now} for master, patient in missing]
    if rows:
        session.execute(insert(LabelledImage), rows)
        known |= _look_up(session, [master for master, _ in missing])
    new = [(one, known[one.picture]) for one in wanted if not _same(one, known[one.picture])]
    rows = [
        {
            "labelled_image_id": image.image_id,
            "version": image.version + 1,
            "label": one.label,
            "subgroup": one.subgroup,
            "origin": LabelOrigin.VERDICT,
            "made_at": now,
        }
        for one, image in new
    ]
    if rows:
        ids = session.scalars(insert(Label).returning(Label.id, sort_by_parameter_order=True), rows).all()
        links = [
            {"label_id": label_id, "verdict_id": verdict_id}
            for label_id, (one, _) in zip(ids, new, strict=True)
            for verdict_id in sorted(one.verdict_ids)
        ]
        session.execute(insert(LabelVerdict), links)
    rows = _withdrawals(session, _unwanted(wanted, known), now)
    if rows:
        session.execute(insert(Label), rows)
    return changes


def _withdrawals(session: Session, unwanted: Sequence[_Known], now: datetime) -> list[dict[str, Any]]:
    """Return the versions that take labels back: what was imported last, else none."""
    imported: dict[int, Label] = {}
    for ids in in_chunks(one.image_id for one in unwanted):
        for label in session.scalars(
            select(Label)
            .where(Label.labelled_image_id.in_(ids), Label.origin == LabelOrigin.IMPORTED)
            .order_by(Label.version)
        ):
            imported[label.labelled_image_id] = label
    rows = []
    for one in unwanted:
        before = imported.get(one.image_id)
        rows.append(
            {
                "labelled_image_id": one.image_id,
                "version": one.version + 1,
                "label": one.label if before is None else before.label,
                "subgroup": one.subgroup if before is None else before.subgroup,
                "origin": LabelOrigin.VERDICT if before is None else LabelOrigin.IMPORTED,
                "data_set_id": None if before is None else before.data_set_id,
                "withdrawn": before is None,
                "made_at": now,
            }
        )
    return rows


def _changes(wanted: Sequence[Wanted], known: dict[tuple[str, str], _Known]) -> Changes:
    first = changed = rebased = unchanged = 0
    for one in wanted:
        found = known.get(one.picture)
        if found is None or found.label is None:
            first += 1
        elif _same(one, found):
            unchanged += 1
        elif (found.label, found.subgroup) == (one.label, one.subgroup):
            rebased += 1
        else:
            changed += 1
    return Changes(first, changed, rebased, len(_unwanted(wanted, known)), unchanged)


def _same(one: Wanted, found: _Known) -> bool:
    said = found.from_verdicts, found.label, found.subgroup, found.verdict_ids
    return said == (True, one.label, one.subgroup, one.verdict_ids)


def _unwanted(wanted: Sequence[Wanted], known: dict[tuple[str, str], _Known]) -> list[_Known]:
    pictures = {one.picture for one in wanted}
    return [
        found
        for picture, found in sorted(known.items())
        if picture not in pictures and found.from_verdicts and found.label is not None
    ]


def _known(session: Session, wanted: Sequence[Wanted]) -> dict[tuple[str, str], _Known]:
    """Return the pictures that have a label from verdicts in force, and those wanted that the ledger has."""
    later = aliased(Label)
    labelled = session.scalars(
        select(LabelledImage.master_digest)
        .join(Label, Label.labelled_image_id == LabelledImage.id)
        .outerjoin(later, and_(later.labelled_image_id == Label.labelled_image_id, later.version > Label.version))
        .where(later.id.is_(None), Label.origin == LabelOrigin.VERDICT, ~Label.withdrawn)
    )
    return _look_up(session, {*labelled, *(one.master_digest for one in wanted)})


def _look_up(session: Session, masters: Iterable[str]) -> dict[tuple[str, str], _Known]:
    later = aliased(Label)
    found: list[tuple[LabelledImage, Label | None]] = []
    for chunk in in_chunks(sorted(set(masters))):
        rows = session.execute(
            select(LabelledImage, Label)
            .outerjoin(Label, Label.labelled_image_id == LabelledImage.id)
            .outerjoin(later, and_(later.labelled_image_id == Label.labelled_image_id, later.version > Label.version))
            .where(LabelledImage.master_digest.in_(chunk), later.id.is_(None))
        )
        found += [(image, label) for image, label in rows]
    made_from = _verdicts_of(session, [label.id for _, label in found if label is not None])
    known = {}
    for image, label in found:
        picture = image.master_digest, image.patient_digest
        if label is None:
            known[picture] = _Known(image.id, 0, None, None, from_verdicts=False, verdict_ids=frozenset())
        else:
            known[picture] = _Known(
                image_id=image.id,
                version=label.version,
                label=None if label.withdrawn else label.label,
                subgroup=None if label.withdrawn else label.subgroup,
                from_verdicts=label.origin is LabelOrigin.VERDICT,
                verdict_ids=frozenset(made_from.get(label.id, ())),
            )
    return known


def _verdicts_of(session: Session, label_ids: Iterable[int]) -> dict[int, set[int]]:
    made_from: dict[int, set[int]] = {}
    for chunk in in_chunks(label_ids):
        for label_id, verdict_id in session.execute(
            select(LabelVerdict.label_id, LabelVerdict.verdict_id).where(LabelVerdict.label_id.in_(chunk))
        ):
            made_from.setdefault(label_id, set()).add(verdict_id)
    return made_from
