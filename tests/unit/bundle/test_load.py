from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bundle.checks import Checks
from bundle.errors import BundleRefused
from bundle.litert import LiteRTRuntime
from bundle.load import STARTER, STARTER_LOCATION, load, load_for, locate
from bundle.manifest import CHECKS, LITERT
from core.settings import RuntimeChoice, Settings
from imaging.spec import PreprocessSpec
from tests.factories.bundles import make_bundle, make_key, noise, starter
from training.fitting.recipe import RECIPES

TRUSTED = [make_key().public_key()]


def test_the_starter_loads_as_shipped(settings: Settings) -> None:
    model = load_for(settings, STARTER, None)
    assert model.runtime.name == "litert"
    assert model.spec == RECIPES["champion"].spec
    assert model.manifest.architecture == "se_resnet"
    assert model.manifest.labels == ("NORMAL", "PNEUMONIA")
    assert model.manifest.intended_use.age_days == (365, 2192)
    assert "CC BY 4.0" in model.manifest.attribution
    assert "Kermany" in (STARTER / "MODEL_CARD.md").read_text()


def test_scores_do_not_depend_on_the_company_they_are_in(settings: Settings) -> None:
    model = load_for(settings, STARTER, None)
    inputs = noise(3)
    together = model.runtime.predict(inputs)
    alone = np.concatenate([model.runtime.predict(inputs[row : row + 1]) for row in range(3)])
    np.testing.assert_array_equal(together, alone)
    assert together.dtype == np.float32
    assert len(model.runtime.predict(inputs[:0])) == 0
    with pytest.raises(ValueError, match="float32 of shape"):
        model.runtime.predict(inputs[:, :64])


def test_nan_pixels_do_not_make_an_exception(settings: Settings) -> None:
    # what becomes of the score is the decision's matter
    scores = load_for(settings, STARTER, None).runtime.predict(np.full_like(noise(1), np.nan))
    assert scores.shape == (1,)


def test_serving_on_cpu_never_imports_tensorflow() -> None:
    code = (
        "import sys; from core.settings import RuntimeChoice; from bundle.load import STARTER, load;"
        "from bundle.signing import RELEASE_KEY, public_key;"
        "load(STARTER, RuntimeChoice.LITERT, None, [public_key(RELEASE_KEY)]);"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=STARTER.parents[1], check=False).returncode == 0


def test_a_network_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    # a signed bundle whose scores were written down wrongly stands for any difference between there and here
    found = dict(np.load(STARTER / CHECKS))
    checks = Checks(found["masters"], found["scores"] + np.float32(0.01))
    make_bundle(tmp_path / "b", files={CHECKS: checks.encode()})
    with pytest.raises(BundleRefused, match="does not give its expected scores"):
        load(tmp_path / "b", RuntimeChoice.LITERT, None, TRUSTED)


def test_another_preprocessing_is_refused(tmp_path: Path) -> None:
    spec = PreprocessSpec(triangle_size=128, input_size=128, channels=3)
    make_bundle(tmp_path / "a", preprocess=spec.to_dict())
    with pytest.raises(BundleRefused, match="not the one its digest names"):
        load(tmp_path / "a", RuntimeChoice.LITERT, None, TRUSTED)
    make_bundle(tmp_path / "b", preprocess={"version": 99}, preprocess_digest="0" * 64)
    with pytest.raises(BundleRefused, match="version 99"):
        load(tmp_path / "b", RuntimeChoice.LITERT, None, TRUSTED)
    smaller = PreprocessSpec(triangle_size=224, input_size=64, channels=3)
    make_bundle(tmp_path / "c", preprocess=smaller.to_dict(), preprocess_digest=smaller.digest())
    with pytest.raises(BundleRefused, match="does not fit its network"):
        load(tmp_path / "c", RuntimeChoice.LITERT, None, TRUSTED)


def test_a_signed_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b", files={LITERT: b"not a network at all, but signed"})
    with pytest.raises(BundleRefused, match="cannot be loaded"):
        load(tmp_path / "b", RuntimeChoice.LITERT, None, TRUSTED)
    with pytest.raises(BundleRefused, match="one column per label"):
        LiteRTRuntime(starter().files[LITERT], 1, 1, labels=3)


@pytest.mark.parametrize("location", ["../x", "a/b", "/etc", "", ".", "..", ".hidden"])
def test_a_registry_row_cannot_lead_out_of_the_bundles_directory(tmp_path: Path, location: str) -> None:
    with pytest.raises(BundleRefused, match="no plain name"):
        locate(location, tmp_path)


def test_locations(tmp_path: Path) -> None:
    assert locate(STARTER_LOCATION, tmp_path) == STARTER
    assert locate("model-1", tmp_path) == tmp_path / "model-1"
