"""From masters to scores: model input, inference in batches, and one image's failure kept to itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.familiarity import Familiarity
from bundle.head import Head
from bundle.runtime import Runtime, Seen
from core import failpoints, logging
from core.errors import LungwatchError
from core.logging import safe_error
from imaging.master import load_master
from imaging.reading import MasterReference, Quality
from imaging.reasons import Rejection
from imaging.spec import PreprocessSpec, input_digest
from worker.decide import decide, is_unfamiliar, no_result
from worker.serving import Serving
from worker.stages import Judgement, Prepared, Read

log = logging.get(__name__)

_HEAT_DIGITS: Final = 4
# of features: image, row, column, channel
_MAP_AXES: Final = 4


@dataclass(frozen=True, slots=True)
class Score:
    """What the runtime made of one input: a number, or why there is none.

    `again` tells a failure that another attempt may mend from an answer that
    would be the same next time. `unfamiliarity` and `heat` are None where the
    bundle has none, or where they are not finite.
    """

    value: float | None = None
    failed: Rejection | None = None
    again: bool = False
    unfamiliarity: float | None = None
    heat: list[list[float]] | None = None


def prepare(read: Read, master: MasterReference, masters: Path, spec: PreprocessSpec) -> Prepared:
    """Make an image's model input from its master, as the bundle's spec says.

    Raises
    ------
    TransientFailure
        If the master is gone or damaged; reading the instance again writes it anew.
    """
    model_input = spec.apply(load_master(masters, master.digest))
    return Prepared(read, master, model_input, input_digest(model_input))


def score(
    runtime: Runtime,
    inputs: Sequence[NDArray[np.float32]],
    familiarity: Familiarity | None = None,
    head: Head | None = None,
) -> list[Score]:
    """Classify a batch; if it fails as a whole, each image by itself.

    Parameters
    ----------
    runtime : Runtime
        The champion's.
    inputs : sequence of ndarray of float32, shape (rows, columns, channels)
        Model input.
    familiarity, head
        The champion's, where its bundle has them.

    Returns
    -------
    list of Score
        One for each input, in order.
    """
    if not inputs:
        return []
    failpoints.reach("predicting")
    try:
        return _together(runtime, np.stack(inputs), familiarity, head)
    except Exception as error:  # noqa: BLE001 - a runtime raises what it likes, and a batch must not die of it
        if len(inputs) > 1:
            log.warning("batch_failed", images=len(inputs), **safe_error(error))
            return [score(runtime, [one], familiarity, head)[0] for one in inputs]
        log.error("inference_failed", **safe_error(error))  # noqa: TRY400 - the text may quote data
        # what has the wrong shape once has it again
        return [Score(failed=Rejection.INFERENCE_FAILED, again=not isinstance(error, WrongShape))]


class WrongShape(LungwatchError):
    """What a runtime gave is not one value, or one map, for each image."""


def _together(
    runtime: Runtime, batch: NDArray[np.float32], familiarity: Familiarity | None, head: Head | None
) -> list[Score]:
    """Classify a batch as a whole.

    Raises
    ------
    WrongShape
        If that gives something else than a number for each image.
    """
    seen = Seen(np.asarray(runtime.predict(batch)), None) if head is None else runtime.look(batch)
    values = _a_number_each("scores", seen.scores, len(batch))
    heats = [None] * len(batch) if head is None else _heats(head, seen, len(batch))
    unlike = [None] * len(batch) if familiarity is None else _unlike(familiarity, batch)
    return [
        Score(value, unfamiliarity=strange, heat=heat)
        for value, strange, heat in zip(values, unlike, heats, strict=True)
    ]


def _a_number_each(what: str, values: NDArray[np.floating], count: int) -> list[float]:
    """Return an array's numbers, finite or not, if there is one for each image."""
    if values.shape != (count,) or not np.issubdtype(values.dtype, np.floating):
        raise WrongShape(f"{what} of {count} images have shape {values.shape} and are {values.dtype}")
    return [float(value) for value in values]


def _heats(head: Head, seen: Seen, count: int) -> list[list[list[float]] | None]:
    """Return each image's class activation map, rounded for the ledger; None where it is not finite."""
    features = seen.features
    sound = features is not None and features.ndim == _MAP_AXES
    if features is None or not sound or (len(features), features.shape[-1]) != (count, len(head.towards)):
        raise WrongShape(f"features of {count} images have shape {None if features is None else features.shape}")
    maps = head.heat(features)
    return [np.round(one.astype(np.float64), _HEAT_DIGITS).tolist() if np.isfinite(one).all() else None for one in maps]


def _unlike(familiarity: Familiarity, batch: NDArray[np.float32]) -> list[float | None]:
    """Return each image's unfamiliarity; None where it is not finite, which `worker.decide` takes for unfamiliar."""
    values = _a_number_each("unfamiliarities", familiarity.unfamiliarity(batch), len(batch))
    return [value if math.isfinite(value) else None for value in values]


def judge(found: Score, serving: Serving, quality: Quality, digest: str) -> Judgement:
    """Decide what a score means under the model that gave it, for a master of this quality and input of this digest."""
    if found.failed is not None:
        decision = no_result(found.failed)
    else:
        rules = serving.stamp.rules
        unfamiliar = is_unfamiliar(found.unfamiliarity, rules)
        decision = decide(found.value, rules, quality, unfamiliar=unfamiliar)
    return Judgement(decision, serving.stamp, digest, found.unfamiliarity, found.heat)
