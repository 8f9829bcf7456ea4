from __future__ import annotations

from imaging.reading import Attributes, Reading
from worker.metrics import told


def attributes(syntax: str) -> Attributes:
    return Attributes("1.2.3", "1.2.3.4", "1.2.840.10008.5.1.4.1.1.1", syntax, patient_id="PATIENT")


def test_each_stage_is_told_in_milliseconds() -> None:
    seconds = {told.HELPER: 0.1234, told.PREPARE: 0.002, told.INFERENCE: 0.01}
    reading = Reading(attributes("1.2.840.10008.1.2.5"), seconds=seconds)
    assert told.stages(reading, 0.05, 1.5) == {
        "decode_ms": 123.4,
        "prepare_ms": 2.0,
        "inference_ms": 10.0,
        "syntax": "RLELossless",
        "commit_ms": 50.0,
        "waited_ms": 1500.0,
    }


def test_of_what_was_not_read_there_is_less() -> None:
    assert told.stages(None, 0.05, None) == {"commit_ms": 50.0}


def test_nothing_that_a_helper_said_or_a_peer_sent_is_repeated() -> None:
    reading = Reading(attributes("1.2.3.PATIENT"), seconds={"PATIENT^NAME": 1.0, "decode": 2.0})
    assert told.stages(reading, 0.05, None) == {"syntax": "other", "commit_ms": 50.0}
