"""``python -m tests.integration.other_backend``: how far the starter on Keras' backend is from LiteRT, as JSON."""

from __future__ import annotations

import json
import sys

import numpy as np

from bundle.checks import decode
from bundle.load import STARTER, load
from bundle.manifest import CHECKS
from bundle.runtime import KerasOptions
from bundle.signing import RELEASE_KEY, public_key
from core.settings import RuntimeChoice
from tests.factories.bundles import noise, starter

keys = [public_key(RELEASE_KEY)]
litert = load(STARTER, RuntimeChoice.LITERT, None, keys)
# fewer than there are images, so that batches are parted and filled up where the backend wants that
keras = load(STARTER, RuntimeChoice.KERAS, None, keys, options=KerasOptions(batch=2))
patterns = np.stack([litert.spec.apply(master) for master in decode(starter().files[CHECKS]).masters])
scores, features = 0.0, 0.0
for images in (patterns[:3], noise(1)):
    one, other = litert.runtime.look(images), keras.runtime.look(images)
    if one.features is None or other.features is None:
        sys.exit("a runtime gives no features")
    scores = max(scores, float(np.abs(one.scores - other.scores).max()))
    features = max(features, float(np.abs(one.features - other.features).max() / np.abs(one.features).max()))
sys.stdout.write(
    json.dumps(
        {
            "runtime": keras.runtime.name,
            "scores": scores,
            "features": features,
            "tensorflow": "tensorflow" in sys.modules,
        }
    )
)
