"""The phantom studies: what a PACS forwards on an unlucky day, and what must become of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from cli.demo.sending import THUMBNAIL, Sending
from db.vocabulary import ReceiptState
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import (
    SOP_CLASSES,
    Modality,
    Patient,
    PhantomObject,
    Uids,
    break_code_stream,
    build,
    to_bytes,
)

_THREADS: Final = 2
_EIGHT_BITS: Final = 8
_PICTURE_BITS: Final = 12


@dataclass(frozen=True, slots=True)
class Drawn:
    """Which phantom picture an instance shows."""

    kind: str
    seed: int
    size: tuple[int, int] = (2000, 2400)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that happens, in words and as an object.

    Attributes
    ----------
    plan : dict
        Keywords of `PhantomObject`, less picture and UIDs.
    like : str or None
        Name of an earlier scenario whose UIDs this instance bears.
    damage : callable or None
        What is done to the finished object.
    """

    name: str
    title: str
    drawn: Drawn
    expected: ReceiptState
    plan: dict[str, Any] = field(default_factory=dict)
    like: str | None = None
    damage: Callable[[Dataset], None] | None = None


_A = Drawn("clear", 1)
_B = Drawn("clear", 12, (2200, 2000))
_C = Drawn("clear", 21, (2048, 2500))
_D = Drawn("opacity", 3)
_E = Drawn("opacity", 14, (2000, 2600))
_F = Drawn("opacity", 23, (2300, 2300))
_DONE = ReceiptState.CLASSIFIED
_OUT = ReceiptState.OUT_OF_SCOPE

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario("first", "chest, 3 years", _A, _DONE),
    Scenario(
        "inverted", "chest, 2 years, MONOCHROME1", _B, _DONE,
        {"syntax": uid.ImplicitVRLittleEndian, "monochrome1": True, "patient": Patient(age="002Y")},
    ),
    Scenario("lossless", "chest, 4 years", _C, _DONE, {"syntax": uid.JPEGLosslessSV1, "patient": Patient(age="004Y")}),
    Scenario("opacity", "chest with opacities", _D, _DONE, {"syntax": uid.JPEG2000Lossless}),
    Scenario(
        "computed", "chest with opacities, CR, MONOCHROME1", _E, _DONE,
        {"syntax": uid.RLELossless, "modality": Modality.CR, "monochrome1": True, "patient": Patient(age="018M")},
    ),
    Scenario("ls", "chest with opacities", _F, _DONE, {"syntax": uid.JPEGLSLossless}),
    Scenario("ht", "the third chest again, another child", _C, _DONE, {"syntax": uid.HTJ2KLossless}),
    Scenario(
        "unknown", "chest, age and view unknown", _E, _DONE,
        {"syntax": uid.JPEG2000, "patient": Patient(age=None), "view": None},
    ),
    Scenario(
        "eight", "chest, 8 bits, PA", _A, _DONE, {"syntax": uid.JPEGBaseline8Bit, "bits_stored": 8, "view": "PA"}
    ),
    Scenario(
        "lateral", "lateral view", Drawn("lateral", 5, (2400, 2000)), _OUT,
        {"syntax": uid.JPEGLosslessSV1, "view": "LL"},
    ),
    Scenario("hand", "hand", Drawn("hand", 6, (2400, 2000)), _OUT, {"body_part": "HAND", "view": "PA"}),
    Scenario("adult", "chest, 54 years", _B, _OUT, {"syntax": uid.RLELossless, "patient": Patient(age="054Y")}),
    Scenario(
        "corrupt", "chest, code stream corrupt", _F, ReceiptState.QUARANTINED,
        {"syntax": uid.JPEG2000Lossless}, damage=break_code_stream,
    ),
    Scenario("twice", "the first chest, sent twice", _A, ReceiptState.DUPLICATE, like="first"),
    Scenario(
        "corrected", "the third chest, header corrected", _C, ReceiptState.HEADER_REVISION,
        {"syntax": uid.JPEGLSLossless, "patient": Patient(age="004Y", sex="M")}, like="lossless",
    ),
    Scenario(
        "conflict", "the fourth chest's UID, other pixels", _B, ReceiptState.CONFLICT,
        {"syntax": uid.JPEG2000Lossless}, like="opacity",
    ),
)  # fmt: skip


@contextmanager
def phantom_sendings(folder: Path, seed: str, scenarios: Sequence[Scenario] = SCENARIOS) -> Iterator[Iterator[Sending]]:
    """Begin to compute the studies, two at a time, and yield an iterator of them in their order.

    Parameters
    ----------
    folder : Path
        Where the files go; exists.
    seed : str
        Of all UIDs.
    scenarios : sequence of Scenario
        In the order in which they are sent.
    """
    pictures: dict[Drawn, Future[NDArray[np.uint16]]] = {}
    files: list[Future[Sending]] = []
    pool = ThreadPoolExecutor(_THREADS, "phantom")
    try:
        for number, scenario in enumerate(scenarios, 1):
            drawn = scenario.drawn
            # a picture is queued before every file that shows it, so no file waits for one behind itself
            if drawn not in pictures:
                pictures[drawn] = pool.submit(radiograph, drawn.kind, drawn.seed, drawn.size)
            files.append(pool.submit(_make, scenario, number, folder, seed, pictures[drawn].result))
        yield (made.result() for made in files)
    finally:
        pool.shutdown(cancel_futures=True)


def _make(
    scenario: Scenario, number: int, folder: Path, seed: str, picture: Callable[[], NDArray[np.uint16]]
) -> Sending:
    values = picture()
    name = scenario.like or scenario.name
    uids = Uids(f"{seed}/{name}")
    settings = dict(scenario.plan)
    patient = settings.pop("patient", Patient())
    # a picture of 12 bits shown in 8 loses its lowest four
    surplus_bits = _PICTURE_BITS - settings.get("bits_stored", _PICTURE_BITS)
    plan = PhantomObject(
        picture=np.asarray(values >> surplus_bits, np.uint16),
        study_uid=uids.new(),
        series_uid=uids.new(),
        sop_instance_uid=uids.new(),
        patient=replace(patient, patient_id=f"PHANTOM-{name}".upper()),
        accession_number=f"DEMO-{name}".upper()[:16],
        **settings,
    )
    dataset = build(plan)
    if scenario.damage is not None:
        scenario.damage(dataset)
    path = folder / f"{number:02d}-{scenario.name}.dcm"
    path.write_bytes(to_bytes(dataset))
    return Sending(
        title=scenario.title,
        path=path,
        study_uid=plan.study_uid,
        sop_class_uid=SOP_CLASSES[plan.modality],
        sop_instance_uid=plan.sop_instance_uid,
        transfer_syntax_uid=plan.syntax,
        expected=frozenset({scenario.expected}),
        thumbnail=thumbnail(values),
        again=scenario.like is not None,
    )


def thumbnail(values: NDArray[np.uint16]) -> Image.Image:
    """Return a small grey picture of stored values of 12 bits."""
    small = Image.fromarray((values >> (_PICTURE_BITS - _EIGHT_BITS)).astype(np.uint8))
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small
