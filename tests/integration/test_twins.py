"""Originals and their published 224 pixel copies must be the same case to the model (design: one path for pixels)."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid

from bundle.load import load_for
from core.settings import RuntimeChoice, Settings
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from imaging.eight_bit import master_from_picture
from imaging.instance import ReadingRules, read_instance
from imaging.master import load_master
from imaging.phantom.radiograph import radiograph
from imaging.scope import ScopeRules
from imaging.spec import PreprocessSpec
from tests.factories.dicom_objects import part10, phantom
from tests.shared_data import shared_data

LOSSY = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
LOSSLESS = [syntax for syntax in SUPPORTED_TRANSFER_SYNTAXES if syntax not in LOSSY]
STARTER = Path(__file__).resolve().parents[2] / "bundle" / "starter"


def originals() -> dict[str, bytes]:
    with zipfile.ZipFile(shared_data("chest_xray_fullres_sample.zip")) as archive:
        return {
            PurePosixPath(name).name: archive.read(name)
            for name in sorted(archive.namelist())
            if name.endswith(".jpeg")
        }


def copies(names: list[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(shared_data("chest_xray_train_224.zip")) as archive:
        by_name = {PurePosixPath(name).name: name for name in archive.namelist()}
        return {name: archive.read(by_name[name]) for name in names}


def inputs(pictures: dict[str, bytes], spec: PreprocessSpec) -> NDArray[np.float32]:
    return np.stack([spec.apply(master_from_picture(picture)) for picture in pictures.values()])


def logit(score: NDArray[np.float32]) -> NDArray[np.float64]:
    clipped = np.clip(score.astype(np.float64), 1e-9, 1 - 1e-9)
    result: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return result


def test_scores_of_twins_agree() -> None:
    model = load_for(Settings(runtime=RuntimeChoice.LITERT), STARTER, None)
    full = originals()
    small = copies(list(full))
    ours, theirs = (model.runtime.predict(inputs(pictures, model.spec)) for pictures in (full, small))
    differences = np.abs(logit(ours) - logit(theirs))
    threshold = model.manifest.operating_point.threshold
    flipped = int(np.count_nonzero((ours >= threshold) != (theirs >= threshold)))
    assert len(full) == 120
    assert np.median(differences) <= 0.2
    assert flipped <= 2


SYNTAXES = (uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.RLELossless, uid.JPEG2000Lossless, uid.HTJ2KLossless)


def test_originals_wrapped_as_twelve_bit_dx_give_the_same_input_and_score(tmp_path: Path) -> None:
    model = load_for(Settings(runtime=RuntimeChoice.LITERT), STARTER, None)
    spec = PreprocessSpec()
    rules = ReadingRules(ScopeRules.from_settings(Settings(), (365, 6 * 365.25)), 512 << 20)
    for name, picture in list(originals().items())[::24]:
        grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L")).astype(np.uint16)
        # 8 bits spread over 12: 255 becomes 4095; rounding to 12 bits moves a grey level by an eighth at most
        stored = np.rint(grey * (4095 / 255)).astype(np.uint16)
        masters = [master_from_picture(picture)]
        for syntax in SYNTAXES:
            path = tmp_path / f"{len(name)}.dcm"
            path.write_bytes(part10(phantom(picture=stored, syntax=syntax)))
            reading = read_instance(path, tmp_path / "masters", rules)
            assert reading.master is not None, reading.detail
            masters.append(load_master(tmp_path / "masters", reading.master.digest))
        direct, *wrapped = (spec.apply(master) for master in masters)
        for syntax, given in zip(SYNTAXES, wrapped, strict=True):
            off = 255 * float(np.sqrt(np.mean((given - direct) ** 2)))
            assert off <= (0.8 if syntax in {uid.JPEG2000Lossless, uid.HTJ2KLossless} else 0.15)
        scores = model.runtime.predict(np.stack([model.spec.apply(master) for master in masters]))
        assert np.ptp(scores) <= 0.01


@pytest.mark.parametrize(
    ("kind", "seed", "shape"),
    # at half and at a quarter of its size, where a stream holds smaller images of itself
    [("clear", 3, (1305, 1145)), ("opacity", 5, (1305, 1145)), ("opacity", 5, (2561, 2049))],
)
def test_one_image_has_one_score_in_every_lossless_syntax(
    tmp_path: Path, kind: str, seed: int, shape: tuple[int, int]
) -> None:
    model = load_for(Settings(runtime=RuntimeChoice.LITERT), STARTER, None)
    stored = radiograph(kind, seed, shape).astype(np.uint16)
    rules = ReadingRules(ScopeRules.from_settings(Settings(), (365, 6 * 365.25)), 512 << 20)
    inputs = []
    for syntax in LOSSLESS:
        path = tmp_path / "object.dcm"
        path.write_bytes(part10(phantom(picture=stored, syntax=uid.UID(syntax))))
        reading = read_instance(path, tmp_path / "masters", rules)
        assert reading.master is not None, reading.detail
        inputs.append(model.spec.apply(load_master(tmp_path / "masters", reading.master.digest)))
    scores = np.concatenate([model.runtime.predict(one[np.newaxis]) for one in inputs])
    # where a small difference of the input would show
    assert 0.05 < scores.min() < 0.95
    assert np.ptp(scores) <= 0.01
    # not one image nine times
    assert len({one.tobytes() for one in inputs}) > 1
