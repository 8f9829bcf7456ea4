"""ImageNet weights for the transfer networks, and the features that frozen backbones make of images once.

Keras publishes the weights of each backbone without its top as one HDF5 file. They come from
Keras' own download, from such a file, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bundle.architectures import transfer
from bundle.tensorflow_settings import before_tensorflow
from training.datasets.cache import cached, digest_of
from training.datasets.pixels import Examples
from training.errors import FitFailed

DOWNLOAD: Final = "imagenet"
FRESH: Final = "none"
AS_NOTEBOOK: Final = "_as_notebook"
_BATCH: Final = 32
_SEED: Final = 13
# As Keras names them; a folder of them serves both networks.
_PUBLISHED: Final = {
    "vgg16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "mobilenetv2_1.00_128": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5",
}
# what Keras and h5py raise for a file that is none, is cut short, or is of another network
_UNFIT: Final = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Features(Examples):
    """What a frozen backbone made of images; `planes` holds it, float32 of shape (n, features)."""

    def inputs(self, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return input of the head, float32 of shape (n, features)."""
        return np.asarray(self.planes[which])


def fill(model: Any, source: str) -> str:
    """Give the backbone of a network its weights.

    Parameters
    ----------
    model : keras.Model
        Made by `bundle.architectures.transfer.stacked`.
    source : str
        ``imagenet`` for Keras' download, ``none`` for fresh weights of a
        fixed seed, else the path of a file as Keras publishes
        it, without top, or of a folder of such files under Keras' names.

    Returns
    -------
    str
        SHA-256 over the weights, 64 hexadecimal digits.

    Raises
    ------
    FitFailed
        If the download fails, the file is missing, or it does not fit; with what to do.
    """
    backbone = transfer.backbone_of(model)
    if source == DOWNLOAD:
        backbone.set_weights(_download(backbone))
    elif source == FRESH:
        backbone.set_weights(_fresh(backbone))
    else:
        _read(backbone, Path(source))
    digest = hashlib.sha256()
    for weight in backbone.get_weights():
        digest.update(np.ascontiguousarray(weight, "<f4").tobytes())
    return digest.hexdigest()


def _download(backbone: Any) -> list[NDArray[np.float32]]:
    before_tensorflow()
    import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

    vgg = backbone.name.startswith("vgg")
    maker = keras.applications.VGG16 if vgg else keras.applications.MobileNetV2
    try:
        # its progress goes to standard output, which is for results
        with contextlib.redirect_stdout(sys.stderr):
            filled = maker(weights=DOWNLOAD, include_top=False, input_shape=backbone.input_shape[1:])
    except Exception as error:  # Keras raises Exception itself where a download fails
        raise FitFailed(
            f"the ImageNet weights of {backbone.name} could not be downloaded ({type(error).__name__}). Without the "
            "internet, fetch Keras' file without top elsewhere and name it with --backbone-weights PATH, or fit on "
            "an untrained backbone with --backbone-weights none"
        ) from error
    weights: list[NDArray[np.float32]] = filled.get_weights()
    return weights


def _fresh(backbone: Any) -> list[NDArray[np.float32]]:
    """Draw weights that depend on nothing but the network, so that a run can be gone on with."""
    rng = np.random.default_rng(_SEED)
    drawn = []
    for weight, old in zip(backbone.weights, backbone.get_weights(), strict=True):
        if weight.path.endswith("kernel"):
            # He et al. 2015; a depthwise kernel's third axis is as wide as its image, and each looks at one channel
            looks_at = int(np.prod(old.shape[:2] if "depthwise" in weight.path else old.shape[:-1]))
            drawn.append(rng.normal(0, np.sqrt(2 / looks_at), old.shape).astype(np.float32))
        else:
            drawn.append(old)
    return drawn


def _read(backbone: Any, path: Path) -> None:
    if path.is_dir():
        path /= _PUBLISHED.get(backbone.name, f"{backbone.name}.h5")
    if not path.is_file():
        raise FitFailed(f"{path}: no such file; --backbone-weights wants imagenet, none, or Keras' file")
    before = backbone.get_weights()
    try:
        with tempfile.TemporaryDirectory(prefix="lungwatch-") as folder:
            # Keras tells the two forms of its files by their names, and ours may have any
            link = Path(folder) / ("weights.h5" if _is_published_form(path) else "backbone.weights.h5")
            link.symlink_to(path.resolve())
            backbone.load_weights(link)
    except _UNFIT as error:
        backbone.set_weights(before)
        raise FitFailed(
            f"{path} does not hold the weights of {backbone.name} without its top, as Keras publishes them"
        ) from error
    if not all(np.isfinite(weight).all() for weight in backbone.get_weights()):
        raise FitFailed(f"{path} holds weights that are no finite numbers")


def _is_published_form(path: Path) -> bool:
    """Whether a file is of the older form, in which Keras publishes, and not of `save_weights` today."""
    import h5py  # noqa: PLC0415 - comes with TensorFlow

    with h5py.File(path, "r") as file:
        return "layer_names" in file.attrs or "model_weights" in file


def features(  # noqa: PLR0917 - a network, its weights, images and where to keep what is made
    model: Any,
    weights_digest: str,
    examples: Examples,
    pixels_digest: str,
    folder: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> Features:
    """Return what the frozen part of a network makes of images, computed once and kept on disk.

    Parameters
    ----------
    weights_digest : str
        From `fill`.
    pixels_digest : str
        Of the images, their order and their preprocessing.
    folder : Path
        Where arrays are kept.
    advance : callable
        Told how many more images are done.
    """
    frozen, _ = transfer.split(model)
    width = int(frozen.output_shape[-1])
    digest = digest_of("features", model.name, weights_digest, pixels_digest)

    def make(rows: slice) -> NDArray[np.float32]:
        made: NDArray[np.float32] = frozen.predict(examples.inputs(rows), batch_size=_BATCH, verbose=0)
        return made

    found = cached(folder, digest, (len(examples), width), make, advance)
    if not np.isfinite(found[: min(len(found), _BATCH)]).all():
        raise FitFailed(f"the backbone of {model.name} gives numbers that are not finite")
    return Features(found, examples.labels, examples.patients, examples.items, examples.channels)


def only(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    """Return some of the images."""
    items = tuple(examples.items[int(row)] for row in rows)
    return replace(
        examples,
        planes=examples.planes[rows],
        labels=examples.labels[rows],
        patients=examples.patients[rows],
        items=items,
        sizes=None if examples.sizes is None else examples.sizes[rows],
    )
