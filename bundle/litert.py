"""Serving on CPU with LiteRT: starts in a fraction of a second, without TensorFlow."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleRefused
from bundle.quiet import hush_litert
from bundle.runtime import Seen, check_inputs

# of a feature map: image, row, column, channel
_MAP_AXES: Final = 4


class LiteRTRuntime:
    """A ``model.tflite`` in memory.

    Images go through one at a time: batches gain next to nothing on CPU, and
    so a score never depends on which other images were scored beside it.

    Parameters
    ----------
    model : bytes
        Verified content of ``model.tflite``.
    threads : int
        Threads per image.
    positive_column : int
        Which output column is PNEUMONIA.

    Raises
    ------
    BundleRefused
        If LiteRT cannot load it, or its outputs are not one column per label and at most one map.
    """

    name = "litert"
    batches_pay = False

    def __init__(self, model: bytes, threads: int, positive_column: int, labels: int) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - commands without a model start faster

        try:
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            with hush_litert():
                self._interpreter.allocate_tensors()
            (self._input,) = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise BundleRefused("the bundle's model.tflite cannot be loaded by this version of LiteRT") from error
        # by shape: the converter promises neither order nor names
        scores = [output for output in outputs if tuple(output["shape"]) == (1, labels)]
        maps = [output for output in outputs if len(output["shape"]) == _MAP_AXES and output["shape"][0] == 1]
        if len(scores) != 1 or len(maps) > 1 or len(outputs) != len(scores) + len(maps) or self._input["shape"][0] != 1:
            raise BundleRefused("the bundle's model.tflite does not give one column per label, and at most one map")
        self._output, self._map = scores[0], maps[0] if maps else None
        self._shape = tuple(int(side) for side in self._input["shape"][1:])
        self._column = positive_column

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score images; see `bundle.runtime.Runtime.predict`."""
        return self.look(inputs).scores

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        """Score images and give their features; see `bundle.runtime.Runtime.look`."""
        check_inputs(inputs, self._shape)
        scores = np.empty(len(inputs), np.float32)
        features = None if self._map is None else np.empty((len(inputs), *self._map["shape"][1:]), np.float32)
        for row, image in enumerate(inputs):
            self._interpreter.set_tensor(self._input["index"], image[np.newaxis])
            self._interpreter.invoke()
            scores[row] = self._interpreter.get_tensor(self._output["index"])[0, self._column]
            if features is not None and self._map is not None:
                features[row] = self._interpreter.get_tensor(self._map["index"])[0]
        return Seen(scores, features)
