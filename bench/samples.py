"""The objects that are sent: computed DX images."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from typing import Final

from pydicom.uid import UID, ExplicitVRLittleEndian

from bench.encoding import Sample, new_uid
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import PhantomObject, Uids, build

# megabytes of pixel data to rows and columns; 16 bits allocated, 12 stored
SHAPES: Final = {1: (1000, 500), 5: (1800, 1400), 15: (2500, 3000)}


# so wide that it cuts nothing off wherever `vary` puts its centre
_WINDOW: Final = (2048.125, 4400.0)
_CENTRES: Final = (2000, 2100)


def sample(megabytes: int, syntax: UID = ExplicitVRLittleEndian) -> Sample:
    """Compute a DX object.

    Parameters
    ----------
    megabytes : int
        One of `SHAPES`.
    syntax : UID
        Transfer syntax; explicit VR, little endian.
    """
    uids = Uids(f"bench/{megabytes}")
    instance = new_uid(random.Random(megabytes))  # noqa: S311 - replaced before it is sent
    dataset = build(
        PhantomObject(
            picture=radiograph("clear", 1, SHAPES[megabytes]),
            study_uid=UID(_study(megabytes)),
            series_uid=uids.new(),
            sop_instance_uid=UID(instance),
            syntax=syntax,
            window=_WINDOW,
        )
    )
    sop_class = str(dataset.SOPClassUID)
    # a data set on the wire has no file meta information, PS3.5 7
    del dataset.file_meta
    stream = BytesIO()
    dataset.save_as(stream, implicit_vr=False, little_endian=True)
    return Sample(sop_class, instance, stream.getvalue(), str(syntax))


def vary(megabytes: int) -> Callable[[bytearray, random.Random], None]:
    """Return what makes another image of another study of a sample, in the head of its message.

    Another centre of the window is another master, so no system that keeps
    what it made of the pixels finds it there already.
    """
    places: dict[bytes, int] = {}

    def change(head: bytearray, chance: random.Random) -> None:
        if not places:
            places.update({text: _only(head, text) for text in (_study(megabytes).encode(), _centre(_WINDOW[0]))})
        study, centre = places.values()
        new = new_uid(chance).encode()
        head[study : study + len(new)] = new
        new = _centre(chance.uniform(*_CENTRES))
        head[centre : centre + len(new)] = new

    return change


def _study(megabytes: int) -> str:
    return new_uid(random.Random(f"study/{megabytes}"))  # noqa: S311 - replaced before it is sent


def _centre(value: float) -> bytes:
    """Return a window centre, always of the same, even length."""
    return f"{value:.3f}".encode()


def _only(head: bytearray, text: bytes) -> int:
    """Return where a text stands, once.

    Raises
    ------
    ValueError
        If it stands elsewhere or more than once.
    """
    if head.count(text) != 1:
        message = f"{text!r} stands {head.count(text)} times in the first two PDUs, not once"
        raise ValueError(message)
    return head.index(text)
