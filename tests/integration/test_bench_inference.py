"""The bench is seldom run: a small run of its parts, so that it works when it is."""

from __future__ import annotations

from bench.inference import Child
from bench.inference_report import BATCHES, Inference, Inferences, Start, Trial, markdown


def test_a_child_starts_and_scores() -> None:
    child = Child("litert")
    found = child.score(8)
    child.close()
    assert child.start.cpu_seconds > 0
    assert child.start.seconds > 0
    # Python, NumPy and the interpreter, and no TensorFlow
    assert 20e6 < child.start.resident < 300e6
    assert found.milliseconds > 0


def test_the_tables_give_medians_and_ratios() -> None:
    def trial(way: str, repetition: int, milliseconds: float) -> Trial:
        scored = {batch: Inference(milliseconds, 2 * milliseconds) for batch in BATCHES}
        return Trial(way, repetition, Start(milliseconds, 1.5, 70_000_000), scored)

    trials = [trial(way, n, first + n) for n in range(3) for way, first in (("litert", 3), ("keras", 7))]
    section = markdown(Inferences("today", {"cores": "2"}, trials))
    assert "| LiteRT | 4.0 (3.0 to 5.0) | 1.5 | 70 |" in section
    assert "| LiteRT | 8 | 4.0 (3.0 to 5.0) | 8.0 (6.0 to 10.0) |  |" in section
    assert "| Keras on TensorFlow | 32 | 8.0 (7.0 to 9.0) | 16.0 (14.0 to 18.0) | 2.0 (1.8 to 2.3) |" in section
    assert "XLA" not in section
