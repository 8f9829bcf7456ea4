"""The next version of the frozen test set: what it holds, what it adds, and entering it.

A version holds every picture of the one before, and those held out that came
since, each with the label in force now. It never lets one go unless its label
was withdrawn or retention removed its pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session, sessionmaker

from core.errors import LungwatchError
from core.settings import Settings
from db.test_sets import NewTestSet, record
from db.vocabulary import Share, Side
from training.nightly.snapshot.collect import Collected, collect
from training.nightly.snapshot.manifest import Picture, Said
from training.nightly.snapshot.sides import share_of


class NothingToFreeze(LungwatchError):
    """There is no picture that could be tested on."""


class Lost(StrEnum):
    """Why a frozen picture is not in the next version."""

    LABEL = "LABEL"
    """Its readers no longer say anything that labels it."""
    PIXELS = "PIXELS"
    """Retention removed its master."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A picture of the next version, with the label it is judged by from then on."""

    picture: Picture
    label_id: int
    share: Share
    said: Said

    @property
    def relabelled(self) -> bool:
        """Whether the version in force has it with another label."""
        frozen = self.picture.label, self.picture.subgroup
        return self.picture.share is not None and frozen != (self.said.label, self.said.subgroup)

    def line(self) -> str:
        """Return what makes the version another one where it differs."""
        one = self.picture
        parts = (one.master_digest, one.patient_digest, self.said.label, self.said.subgroup or "", self.share)
        return "\t".join(parts)


@dataclass(frozen=True)
class Plan:
    """The next version, held against the one in force.

    Attributes
    ----------
    version : int
    images : tuple of Frozen
        All that it holds, by number.
    added : tuple of Frozen
        Of these, what the version before had not.
    relabelled : tuple of Frozen
        Of these, what it had with another label; `Frozen.picture` says which.
    removed : tuple of (Picture, Lost)
    missing : int
        Kept although their masters are not there: nobody removed them on purpose, so somebody can put them back.
    """

    version: int
    images: tuple[Frozen, ...]
    added: tuple[Frozen, ...]
    relabelled: tuple[Frozen, ...]
    removed: tuple[tuple[Picture, Lost], ...]
    missing: int

    @property
    def changes(self) -> bool:
        """Whether it differs from the version in force."""
        return bool(self.added or self.relabelled or self.removed)

    def digest(self) -> str:
        """Return the SHA-256 over version, picture, patient, label and share of all."""
        lines = [str(self.version), *sorted(one.line() for one in self.images)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def plan(found: Collected) -> Plan:
    """Say what the next version would hold.

    Raises
    ------
    NothingToFreeze
        If it would hold nothing, and there is none yet.
    """
    held = [picture for picture in found.manifest.pictures if picture.side is Side.HELD_OUT]
    absent = [picture for picture in found.manifest.gone if picture.share is not None]
    images: list[Frozen] = []
    removed: list[tuple[Picture, Lost]] = []
    for picture in sorted((*held, *absent), key=lambda one: one.labelled_image_id):
        if picture.now is None:
            removed.append((picture, Lost.LABEL))
        elif picture.master_digest in found.removed:
            removed.append((picture, Lost.PIXELS))
        else:
            share = picture.share or share_of(picture.patient_digest)
            images.append(Frozen(picture, found.label_ids[picture.labelled_image_id], share, picture.now))
    if not images and found.test_set_version is None:
        raise NothingToFreeze(
            "no labelled picture with pixels belongs to a held-out patient; import a data set (lungwatch data import) "
            "or make labels of verdicts (lungwatch labels derive)"
        )
    missing = {picture.labelled_image_id for picture in absent}
    return Plan(
        version=(found.test_set_version or 0) + 1,
        images=tuple(images),
        added=tuple(one for one in images if one.picture.share is None),
        relabelled=tuple(one for one in images if one.relabelled),
        removed=tuple(removed),
        missing=sum(one.picture.labelled_image_id in missing for one in images),
    )


def freeze(settings: Settings, sessions: sessionmaker[Session], *, actor: str, reason: str, dry_run: bool) -> Plan:
    """Enter the next version of the test set, unless nothing differs from the one in force.

    Parameters
    ----------
    dry_run : bool
        Only say what it would hold; nothing is written.

    Raises
    ------
    NothingToFreeze
        See `plan`.
    TransientFailure
        If somebody else froze one meanwhile.
    """
    found = plan(collect(settings, sessions, note=not dry_run))
    if found.changes and not dry_run:
        images = [(one.picture.labelled_image_id, one.label_id, one.share) for one in found.images]
        with sessions.begin() as session:
            record(session, NewTestSet(found.version, found.digest(), actor, reason, images))
    return found
