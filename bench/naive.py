"""The same journey written the obvious way: pynetdicom, Celery, pydicom, TensorFlow, SQLAlchemy.

Each library is used as its own introduction shows it. The model is loaded once
a process, pydicom has its plugins, and nothing is synced, checked, retried or
limited.

``python -m bench.naive model``    writes the network with fresh weights
``python -m bench.naive receive``  stores what comes over DICOM and queues it
``celery -A bench.naive worker``   classifies
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from celery import Celery
from celery.signals import worker_process_init
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

# set by `bench.systems`
PORT: Final = "NAIVE_PORT"
FOLDER: Final = "NAIVE_FOLDER"
BROKER: Final = "NAIVE_BROKER"
MODEL: Final = "NAIVE_MODEL"
DATABASE: Final = "results.sqlite"
_SIDE: Final = 128
_MANY_ASSOCIATIONS: Final = 1000


class _Base(DeclarativeBase):
    """Its one table."""


class Result(_Base):
    """What the model said of an image."""

    __tablename__ = "result"

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str]
    probability: Mapped[float]


class _Process:
    """What a worker process keeps from task to task."""

    model: Any
    engine: Any


app = Celery("naive", broker=os.environ.get(BROKER))


@worker_process_init.connect  # type: ignore[untyped-decorator]
def start(**_: object) -> None:
    """Load the model once TensorFlow may be imported: after the fork."""
    import keras  # noqa: PLC0415 - a fork of a process that has loaded TensorFlow hangs

    _Process.model = keras.saving.load_model(os.environ[MODEL])
    _Process.engine = create_engine(f"sqlite:///{os.environ[FOLDER]}/{DATABASE}")


@app.task(name="classify")  # type: ignore[untyped-decorator]
def classify(path: str) -> None:
    """Read, decode, shrink, classify, write a row."""
    dataset = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    grey = ((shown - shown.min()) / (shown.max() - shown.min())).astype(np.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    small = np.asarray(Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
    images = np.repeat(small[np.newaxis, :, :, np.newaxis], 3, axis=3)
    probability = float(_Process.model.predict(images, verbose=0)[0, 1])
    with Session(_Process.engine) as session:
        session.add(Result(sop_instance_uid=str(dataset.SOPInstanceUID), probability=probability))
        session.commit()


def receive() -> None:
    """Serve until killed."""
    folder = Path(os.environ[FOLDER])
    _Base.metadata.create_all(create_engine(f"sqlite:///{folder}/{DATABASE}"))

    def store(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        classify.delay(str(path))
        return 0x0000

    entity = AE()
    entity.maximum_associations = _MANY_ASSOCIATIONS
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax or "", ALL_TRANSFER_SYNTAXES)
    entity.start_server(("127.0.0.1", int(os.environ[PORT])), evt_handlers=[(evt.EVT_C_STORE, store)])


def write_model() -> None:
    """Write the notebook's regularised network; how fast it is does not depend on its weights."""
    from bundle.architectures import seed_regularised  # noqa: PLC0415 - TensorFlow

    seed_regularised.build().save(os.environ[MODEL])


if __name__ == "__main__":
    {"model": write_model, "receive": receive}[sys.argv[1]]()
