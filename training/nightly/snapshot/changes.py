"""What a snapshot has that is new, and which frozen labels are no longer those in force. Pure."""

from __future__ import annotations

from db.vocabulary import Side
from training.nightly.snapshot.manifest import Manifest, Picture


def new_labels(manifest: Manifest, former: Manifest | None) -> int:
    """Count the pictures to learn from that are new, or labelled otherwise than they were learnt from.

    Parameters
    ----------
    former : Manifest or None
        Of the snapshot that was last learnt from; None where there was none.

    Returns
    -------
    int
        Of fitting, watching and validating; what is held out teaches nothing.
    """
    known = {} if former is None else {one.labelled_image_id: one.label for one in former.pictures}
    return sum(
        picture.side is not Side.HELD_OUT and known.get(picture.labelled_image_id) is not picture.label
        for picture in manifest.pictures
    )


def unlearnt(manifest: Manifest, fitted: frozenset[str]) -> int:
    """Count the pictures to fit on of patients that a model was not fitted on; where no night has learnt yet.

    What a shipped model learnt from is not new because a site imports it.

    Parameters
    ----------
    fitted : frozenset of str
        Digests of the patients that the model and its ancestors were fitted on.
    """
    return sum(
        picture.side in {Side.FIT, Side.WATCH} and picture.patient_digest not in fitted for picture in manifest.pictures
    )


def changed_in_test(manifest: Manifest) -> tuple[Picture, ...]:
    """Return the pictures of the frozen test set, with pixels, whose label in force says otherwise, or is none.

    They are judged by the frozen label until somebody freezes the next version.
    """
    return tuple(
        picture
        for picture in manifest.pictures
        if picture.share is not None and (picture.now is None or picture.now.label is not picture.label)
    )
