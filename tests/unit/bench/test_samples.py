from __future__ import annotations

import random
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless

from bench import encoding
from bench.samples import sample, vary


def data_set(head: bytes) -> Dataset:
    """Read what of the data set lies in a message's head: its second PDU."""
    second = head[6 + encoding.parse_header(head[:6])[1] :]
    return dcmread(BytesIO(second[12:]), force=True, stop_before_pixels=True)


def test_each_image_is_of_a_study_of_its_own_and_has_a_window_of_its_own() -> None:
    message = encoding.encode(sample(1), encoding.LARGEST_PDU)
    head, change, chance = bytearray(message.head), vary(1), random.Random(1)
    seen = []
    for _ in range(3):
        change(head, chance)
        encoding.patch(head, message.places, encoding.new_uid(chance))
        found = data_set(bytes(head))
        seen.append((str(found.SOPInstanceUID), str(found.StudyInstanceUID), float(found.WindowCenter)))
        # nothing is cut off, or a reduced decode would not be enough
        assert float(found.WindowCenter) + float(found.WindowWidth) / 2 > 4095
        assert float(found.WindowCenter) - float(found.WindowWidth) / 2 < 0
    assert all(len({one[field] for one in seen}) == 3 for field in range(3))


def test_a_sample_says_its_transfer_syntax() -> None:
    assert sample(1, JPEG2000Lossless).transfer_syntax == JPEG2000Lossless
