"""Taking a snapshot: what may be learnt from tonight, written down and entered; and reading one back."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from core import failpoints
from core.settings import Settings
from db.snapshots import NewSnapshot, record
from training.nightly.snapshot import manifest as files
from training.nightly.snapshot.collect import collect
from training.nightly.snapshot.manifest import Manifest


def take(settings: Settings, sessions: sessionmaker[Session]) -> tuple[int, Manifest]:
    """Freeze what is labelled now, and return the snapshot's number in the ledger and its manifest.

    Reads labels, test set and headers at one moment, and whether each master is
    there. Writes the sides of patients met for the first time, the manifest,
    then its row. Safe to repeat, also after a kill anywhere: sides that were
    noted stand, and the same content gives the same manifest and the same row.

    Raises
    ------
    TransientFailure
        If disk or database refuse.
    """
    found = collect(settings, sessions)
    failpoints.reach("snapshot.sides_noted")
    manifest = files.write(settings.data_dir, found.manifest)
    failpoints.reach("snapshot.written")
    new = NewSnapshot(
        digest=manifest.digest,
        test_set_id=found.test_set_id,
        images=len(manifest.pictures),
        patients=manifest.patients,
        pixels_gone=len(manifest.gone),
        counts=manifest.counts(),
    )
    with sessions.begin() as session:
        number = record(session, new)
    return number, manifest


def read(settings: Settings, digest: str) -> Manifest:
    """Read a snapshot's manifest, verified by its digest.

    Raises
    ------
    DatasetError
        If it is not there or damaged.
    """
    return files.read(settings.data_dir, digest)
