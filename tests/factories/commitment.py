"""Requests for storage commitment, encoded as senders do."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

TRANSACTION = "1.2.826.0.1.3680043.10.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"


def action_information(references: Sequence[tuple[str, str]], transaction_uid: str = TRANSACTION) -> Dataset:
    """Return the data set of the N-ACTION (PS3.4 Table J.3-1)."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    dataset.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = instance
        dataset.ReferencedSOPSequence.append(item)
    return dataset


def encode(dataset: Dataset, *, explicit: bool = True, undefined: bool = False) -> bytes:
    """Write a data set, with defined or undefined lengths for sequences and items."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, not explicit
    write_dataset(stream, dataset)
    return stream.getvalue()
