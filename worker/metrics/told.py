"""What the log tells of the way of one receipt: how long each stage took, and in which transfer syntax it came."""

from __future__ import annotations

from typing import Final

from core.transfer_syntaxes import syntax_name
from imaging.reading import Reading

# the stages that the worker times itself, as keys of `Reading.seconds`; a helper may put there what it likes
HELPER: Final = "helper"
PREPARE: Final = "prepare"
INFERENCE: Final = "inference"
_TOLD: Final = {HELPER: "decode_ms", PREPARE: "prepare_ms", INFERENCE: "inference_ms"}


def stages(reading: Reading | None, commit_seconds: float, waited_seconds: float | None) -> dict[str, float | str]:
    """Return what stands beside ``receipt_finished``; no identifier, and nothing that was received.

    Parameters
    ----------
    reading : Reading or None
        None where nothing was read.
    commit_seconds : float
        Of the transaction that ended it.
    waited_seconds : float or None
        From acknowledgement to commit.
    """
    found: dict[str, float | str] = {}
    if reading is not None:
        found |= {word: _ms(reading.seconds[stage]) for stage, word in _TOLD.items() if stage in reading.seconds}
        if reading.attributes is not None:
            found["syntax"] = syntax_name(reading.attributes.transfer_syntax_uid)
    found["commit_ms"] = _ms(commit_seconds)
    if waited_seconds is not None:
        found["waited_ms"] = _ms(waited_seconds)
    return found


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
