"""Everything that is labelled, read from the ledger at one moment, each picture on its patient's side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_readers
from db.chunks import AT_ONCE
from db.removal import gone as removed
from db.selection import Labelled, labelled
from db.sides import place, sides
from db.snapshots import Appearance, appearances, shared, uses
from db.test_sets import Frozen, find, frozen
from db.vocabulary import Side, Use
from imaging.master import master_path
from training.datasets.items import Traits
from training.nightly.snapshot.manifest import LeftOut, Manifest, Picture, Reason, Said
from training.nightly.snapshot.sides import side_by_use, side_of

_SEXES: Final = frozenset("FMO")


@dataclass(frozen=True)
class Collected:
    """What was found.

    Attributes
    ----------
    manifest : Manifest
        Not written yet.
    test_set_id, test_set_version : int or None
        The version of the test set in force.
    label_ids : dict of int to int
        The label in force by picture, where there is one.
    removed : frozenset of str
        Masters that retention removed: they do not come back by themselves.
    """

    manifest: Manifest
    test_set_id: int | None
    test_set_version: int | None
    label_ids: dict[int, int]
    removed: frozenset[str]


def collect(settings: Settings, sessions: sessionmaker[Session], *, note: bool = True) -> Collected:
    """Read all labelled pictures and all of the frozen test set.

    Memory grows by some 2 kB a picture.

    Parameters
    ----------
    note : bool
        Note the sides of patients met for the first time; else only say where they would be.
    """
    with sessions() as session:
        readers = make_readers(session.get_bind().engine)
    with readers() as session:
        found = _read(session)
        known = sides(session, {row.patient_digest for row in found.rows} | found.strangers)
    wanted = _wanted(found, known)
    if note and wanted:
        with sessions.begin() as session:
            wanted = place(session, wanted)
    return _sort_out(found, known | wanted, lambda digest: master_path(settings.masters, digest).is_file())


@dataclass(frozen=True)
class _Found:
    """What the ledger says, before anything is decided.

    Attributes
    ----------
    rows : list of Labelled
    frozen : dict of int to Frozen
    uses : dict of int to frozenset of Use
    appearances : dict of str to Appearance
    shared : dict of str to list of (int, str)
        Number and patient of each picture that several have or had, the first first.
    removed : frozenset of str
        Masters that retention removed.
    """

    test_set: tuple[int, int, str] | None
    rows: list[Labelled]
    frozen: dict[int, Frozen]
    uses: dict[int, frozenset[Use]]
    appearances: dict[str, Appearance]
    shared: dict[str, list[tuple[int, str]]]
    removed: frozenset[str]

    @property
    def strangers(self) -> set[str]:
        """Patients of pictures that others have too, and of those no longer labelled."""
        several = {patient for pictures in self.shared.values() for _, patient in pictures}
        return several | {one.patient_digest for one in self.frozen.values()}


def _read(session: Session) -> _Found:
    test_set = find(session)
    held = {} if test_set is None else {one.labelled_image_id: one for one in frozen(session, test_set.id)}
    rows: list[Labelled] = []
    used: dict[int, frozenset[Use]] = {}
    seen: dict[str, Appearance] = {}
    for page in _pages(session):
        rows += page
        used |= uses(session, [row.labelled_image_id for row in page])
        seen |= appearances(session, [row.master_digest for row in page])
    labelled_now = {row.labelled_image_id for row in rows}
    unlabelled = [one.master_digest for one in held.values() if one.labelled_image_id not in labelled_now]
    lost = {row.master_digest for row in rows if row.pixels_gone is not None}
    for start in range(0, len(unlabelled), AT_ONCE):
        masters = unlabelled[start : start + AT_ONCE]
        seen |= appearances(session, masters)
        lost |= set(removed(session, masters))
    in_force = None if test_set is None else (test_set.id, test_set.version, test_set.digest)
    return _Found(in_force, rows, held, used, seen, shared(session), frozenset(lost))


def _pages(session: Session) -> Iterator[Sequence[Labelled]]:
    last = 0
    while page := labelled(session, AT_ONCE, last):
        yield page
        last = page[-1].labelled_image_id


def _wanted(found: _Found, known: Mapping[str, Side]) -> dict[str, Side]:
    """Place the patients that were never met."""
    by_patient: dict[str, set[Use]] = defaultdict(set)
    # of one who only has dropped pictures, none is used: where the patient belongs will be said by another
    present: set[str] = set()
    for row in found.rows:
        if row.patient_digest not in known:
            given = found.uses.get(row.labelled_image_id, frozenset())
            by_patient[row.patient_digest] |= given
            if Use.DROPPED not in given:
                present.add(row.patient_digest)
    return {patient: side_by_use(by_patient[patient]) or side_of(patient) for patient in present}


def _sort_out(found: _Found, side: Mapping[str, Side], is_there: Callable[[str], bool]) -> Collected:
    left_out = _left_out(found, side)
    kept: list[Picture] = []
    gone: list[Picture] = []
    for row in found.rows:
        if row.labelled_image_id in left_out:
            continue
        there = row.master_digest not in found.removed and is_there(row.master_digest)
        (kept if there else gone).append(_labelled(row, found, side[row.patient_digest]))
    labelled_now = {row.labelled_image_id for row in found.rows}
    for one in found.frozen.values():
        if one.labelled_image_id not in labelled_now:
            there = one.master_digest not in found.removed and is_there(one.master_digest)
            (kept if there else gone).append(_picture(one, found, side[one.patient_digest], now=None))
    manifest = Manifest(
        digest="",
        test_set=None if found.test_set is None else found.test_set[2],
        pictures=tuple(sorted(kept, key=_number)),
        gone=tuple(sorted(gone, key=_number)),
        left_out=tuple(LeftOut(number, reason) for number, reason in sorted(left_out.items())),
    )
    test_set_id, version = (None, None) if found.test_set is None else found.test_set[:2]
    label_ids = {row.labelled_image_id: row.label_id for row in found.rows}
    return Collected(manifest, test_set_id, version, label_ids, found.removed)


def _number(picture: Picture) -> int:
    return picture.labelled_image_id


def _left_out(found: _Found, side: Mapping[str, Side]) -> dict[int, Reason]:
    """Say which labelled pictures are not used; one that is in the test set always is."""
    reasons = {}
    twins: dict[str, list[Labelled]] = defaultdict(list)
    for row in found.rows:
        is_frozen = row.labelled_image_id in found.frozen
        if not is_frozen and Use.DROPPED in found.uses.get(row.labelled_image_id, ()):
            reasons[row.labelled_image_id] = Reason.DROPPED
        elif row.master_digest in found.shared:
            twins[row.master_digest].append(row)
    for master, rows in twins.items():
        reasons |= _of_twins(rows, found, side, _first(found.shared[master], found, side))
    return reasons


def _first(pictures: Sequence[tuple[int, str]], found: _Found, side: Mapping[str, Side]) -> Side | None:
    """Say on which side a picture was first, whosever it is now: it may have been fitted on there, or tested."""
    return next(
        (
            side[patient]
            for number, patient in pictures
            # neither of these was ever used
            if patient in side and set(found.uses.get(number, ())) != {Use.DROPPED}
        ),
        None,
    )


def _of_twins(
    rows: Sequence[Labelled], found: _Found, side: Mapping[str, Side], first: Side | None
) -> Iterator[tuple[int, Reason]]:
    """Say which of the pictures with the same pixels stay out: those on another side than it was first on."""
    frozen_labels = {found.frozen[row.labelled_image_id].label for row in rows if row.labelled_image_id in found.frozen}
    free = [row for row in rows if row.labelled_image_id not in found.frozen]
    labels = frozen_labels or {row.label for row in free if side[row.patient_digest] is first}
    for row in free:
        if side[row.patient_digest] is not first:
            yield row.labelled_image_id, Reason.TWIN
        elif len(labels | {row.label}) > 1:
            yield row.labelled_image_id, Reason.CONTRADICTION


def _labelled(row: Labelled, found: _Found, side: Side) -> Picture:
    now = Said(row.label, row.version, row.subgroup)
    return _picture(found.frozen.get(row.labelled_image_id, row), found, side, now)


def _picture(one: Labelled | Frozen, found: _Found, side: Side, now: Said | None) -> Picture:
    appearance = found.appearances.get(one.master_digest)
    return Picture(
        labelled_image_id=one.labelled_image_id,
        master_digest=one.master_digest,
        patient_digest=one.patient_digest,
        side=side,
        share=one.share if isinstance(one, Frozen) else None,
        label=one.label,
        label_version=one.version,
        subgroup=one.subgroup,
        origin=one.origin,
        traits=_traits(appearance),
        now=now,
        size=_size(appearance),
    )


def _traits(appearance: Appearance | None) -> Traits:
    if appearance is None:
        return Traits()
    sex = (appearance.sex or "").upper()
    return Traits(
        sex=sex if sex in _SEXES else None,
        age_days=appearance.age_days,
        view=appearance.view,
        device=appearance.manufacturer,
    )


def _size(appearance: Appearance | None) -> tuple[int, int] | None:
    if appearance is None or appearance.rows is None or appearance.columns is None:
        return None
    return appearance.rows, appearance.columns
