"""What the whole is soaked with: computed radiographs, each encoded once and sent under ever new UIDs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from pydicom import uid

from bench import encoding
from bench.encoding import LARGEST_PDU, Message, Sample, new_uid
from core.part10 import LONGEST_META, meta_elements
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import Patient, PhantomObject, Uids, build, to_bytes

_SIZE: Final = (1000, 800)
# those that modalities and archives forward most
_SYNTAXES: Final = (
    uid.ExplicitVRLittleEndian,
    uid.JPEG2000Lossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.RLELossless,
    uid.ExplicitVRLittleEndian,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One object as it goes on the wire.

    Attributes
    ----------
    accession_number : str
        By which the ledger tells which picture a study shows.
    study_place : int
        Where in the message's head the Study Instance UID stands.
    """

    accession_number: str
    sop_class_uid: str
    transfer_syntax_uid: str
    message: Message
    study_place: int
    size: int

    def head(self, instance_uid: str, study_uid: str) -> bytearray:
        """Return the message's head under other UIDs of the same lengths."""
        head = bytearray(self.message.head)
        encoding.patch(head, self.message.places, instance_uid)
        encoding.patch(head, (self.study_place,), study_uid)
        return head


def pictures(seed: str) -> list[Picture]:
    """Compute one picture for each transfer syntax."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    return [_picture(number, syntax, chance) for number, syntax in enumerate(_SYNTAXES)]


def _picture(number: int, syntax: uid.UID, chance: random.Random) -> Picture:
    uids, instance, study = Uids(f"soak/{number}"), new_uid(chance), new_uid(chance)
    accession = f"SOAK-{number}"
    dataset = build(
        PhantomObject(
            picture=radiograph("opacity" if number % 2 else "clear", number, _SIZE),
            study_uid=uid.UID(study),
            series_uid=uids.new(),
            sop_instance_uid=uid.UID(instance),
            accession_number=accession,
            patient=Patient(patient_id=accession),
            syntax=syntax,
        )
    )
    content = to_bytes(dataset)
    data_set = content[max(element.end for element in meta_elements(content[:LONGEST_META])) :]
    sample = Sample(str(dataset.SOPClassUID), instance, data_set)
    message = encoding.encode(sample, LARGEST_PDU)
    place = message.head.index(study.encode())
    return Picture(accession, sample.sop_class_uid, str(syntax), message, place, len(data_set))
