"""From masters to scores: model input, inference in batches, and one image's failure kept to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundle.runtime import Runtime
from core import failpoints, logging
from core.logging import safe_error
from imaging.master import load_master
from imaging.reading import MasterReference
from imaging.reasons import Rejection
from imaging.spec import PreprocessSpec, input_digest
from worker.decide import decide, no_result
from worker.serving import Serving
from worker.stages import Judgement, Prepared, Read

log = logging.get(__name__)


@dataclass(frozen=True, slots=True)
class Score:
    """What the runtime made of one input: a number, or why there is none.

    `again` tells a failure that another attempt may mend from an answer that
    would be the same next time.
    """

    value: float | None = None
    failed: Rejection | None = None
    again: bool = False


def prepare(read: Read, master: MasterReference, masters: Path, spec: PreprocessSpec) -> Prepared:
    """Make an image's model input from its master, as the bundle's spec says.

    Raises
    ------
    TransientFailure
        If the master is gone or damaged; reading the instance again writes it anew.
    """
    model_input = spec.apply(load_master(masters, master.digest))
    return Prepared(read, master, model_input, input_digest(model_input))


def score(runtime: Runtime, inputs: Sequence[NDArray[np.float32]]) -> list[Score]:
    """Classify a batch; if it fails as a whole, each image by itself.

    Parameters
    ----------
    runtime : Runtime
        The champion's.
    inputs : sequence of ndarray of float32, shape (rows, columns, channels)
        Model input.

    Returns
    -------
    list of Score
        One for each input, in order.
    """
    if not inputs:
        return []
    failpoints.reach("predicting")
    try:
        values = np.asarray(runtime.predict(np.stack(inputs)))
    except Exception as error:  # noqa: BLE001 - a runtime raises what it likes, and a batch must not die of it
        if len(inputs) > 1:
            log.warning("batch_failed", images=len(inputs), **safe_error(error))
            return [score(runtime, [one])[0] for one in inputs]
        log.error("inference_failed", **safe_error(error))  # noqa: TRY400 - the text may quote data
        return [Score(failed=Rejection.INFERENCE_FAILED, again=True)]
    if values.shape != (len(inputs),) or not np.issubdtype(values.dtype, np.floating):
        if len(inputs) > 1:
            return [score(runtime, [one])[0] for one in inputs]
        log.error("inference_shape", shape=list(values.shape), dtype=str(values.dtype))
        return [Score(failed=Rejection.INFERENCE_FAILED)]
    return [Score(float(value)) for value in values]


def judge(prepared: Prepared, found: Score, serving: Serving) -> Judgement:
    """Decide what a score means under the model that gave it."""
    if found.failed is not None:
        decision = no_result(found.failed)
    else:
        decision = decide(found.value, serving.stamp.rules, prepared.master.quality)
    return Judgement(decision, serving.stamp, prepared.input_digest)
