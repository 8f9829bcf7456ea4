"""What TensorBoard shows of a fit: a point an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.files import make_directories
from training.errors import FitFailed
from training.fitting.run import Epoch


class Board:
    """Event files in a folder, one more for each start of the command.

    TensorFlow's own writer and neither `tf.summary.scalar` nor Keras' callback: both want TensorBoard
    installed where the fit runs, and the callback knows nothing of the average that serves.

    Raises
    ------
    FitFailed
        If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf  # noqa: PLC0415 - only those who fit pay for TensorFlow

        self._folder = folder
        self._write: Any = tf.summary.write
        metadata = tf.compat.v1.SummaryMetadata
        # what tells TensorBoard that a tensor is a point of a curve
        self._scalar = metadata(plugin_data=metadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR")
        try:
            make_directories(folder)
            self._writer = tf.summary.create_file_writer(str(folder))
        except (OSError, tf.errors.OpError) as error:
            raise self._refused() from error
        self._errors = tf.errors.OpError

    def _refused(self) -> FitFailed:
        return FitFailed(
            f"{self._folder}: TensorBoard's files cannot be written there; make room or choose another folder, and run "
            "the same command again, it goes on after the last epoch"
        )

    def epoch(self, epoch: Epoch) -> None:
        """Write an epoch's figures and hand them to the operating system.

        Raises
        ------
        FitFailed
            If the disk refuses; the epoch itself is recorded by then.
        """
        figures = {
            "loss": epoch.loss,
            "watched/loss": epoch.watch_loss,
            "watched/balanced_accuracy": epoch.watch_accuracy,
            "learning_rate": epoch.learning_rate,
            "seconds": epoch.seconds,
        }
        try:
            with self._writer.as_default(step=epoch.number):
                for name, value in figures.items():
                    if value is not None:
                        self._write(name, np.float32(value), metadata=self._scalar)
            self._writer.flush()
        except self._errors as error:
            raise self._refused() from error

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
