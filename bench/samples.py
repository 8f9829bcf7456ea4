"""The objects that are sent: computed DX images, uncompressed."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Final

from pydicom.uid import UID

from bench.encoding import Sample, new_uid
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import PhantomObject, Uids, build

# megabytes of pixel data to rows and columns; 16 bits allocated, 12 stored
SHAPES: Final = {1: (1000, 500), 5: (1800, 1400), 15: (2500, 3000)}


def sample(megabytes: int) -> Sample:
    """Compute a DX object.

    Parameters
    ----------
    megabytes : int
        One of `SHAPES`.
    """
    uids = Uids(f"bench/{megabytes}")
    instance = new_uid(random.Random(megabytes))  # noqa: S311 - replaced before it is sent
    dataset = build(
        PhantomObject(
            picture=radiograph("clear", 1, SHAPES[megabytes]),
            study_uid=uids.new(),
            series_uid=uids.new(),
            sop_instance_uid=UID(instance),
        )
    )
    sop_class = str(dataset.SOPClassUID)
    # a data set on the wire has no file meta information, PS3.5 7
    del dataset.file_meta
    stream = BytesIO()
    dataset.save_as(stream, implicit_vr=False, little_endian=True)
    return Sample(sop_class, instance, stream.getvalue())
