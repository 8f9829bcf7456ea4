"""Which pictures are worth a second look: those a model contradicts with the most confidence."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.examination.reliability import log_losses
from training.nightly.gate.exam import Answers

# so many are shown, of however many there are
MOST: Final = 24


def disagreements(labels: NDArray[np.int64], answers: Answers, most: int = MOST) -> NDArray[np.int64]:
    """Choose the pictures that a model calls otherwise than their label, the most confident first.

    Confidence is the log-loss of the calibrated probability, so that misses and
    false alarms are weighed alike wherever the operating point lies.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        1 is PNEUMONIA.

    Returns
    -------
    ndarray of int64, at most `most` of them
        Rows of `labels`. An answer that is no number is none to be confident of, and left out.
    """
    ill = np.equal(labels, 1)
    told = np.isfinite(answers.scores) & np.isfinite(answers.probabilities)
    wrong = np.flatnonzero(told & ((answers.scores >= answers.threshold) != ill))
    lost = log_losses(ill[wrong], answers.probabilities[wrong])
    # a softmax saturates: of equally lost ones the further from the threshold comes first
    far = np.abs(answers.scores[wrong] - answers.threshold)
    return wrong[np.lexsort((-far, -lost))][:most]
