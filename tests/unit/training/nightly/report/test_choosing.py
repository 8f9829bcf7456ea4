from __future__ import annotations

import numpy as np

from training.nightly.gate.exam import Answers
from training.nightly.report.choosing import MOST, disagreements


def answers(scores: list[float], threshold: float = 0.4, probabilities: list[float] | None = None) -> Answers:
    return Answers("digest", threshold, np.array(scores), np.array(scores if probabilities is None else probabilities))


def test_only_what_is_called_otherwise_is_chosen_the_most_confident_first() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0])
    #          missed by little, right, missed by much, right, false alarm, false alarm of great confidence
    said = answers([0.3, 0.9, 0.1, 0.2, 0.6, 0.95])
    assert disagreements(labels, said).tolist() == [5, 2, 0, 4]


def test_confidence_is_that_of_the_probability_and_not_of_the_score() -> None:
    said = answers([0.5, 0.9], probabilities=[0.99, 0.6])
    assert disagreements(np.array([0, 0]), said).tolist() == [0, 1]


def test_where_probabilities_are_saturated_the_score_tells_which_is_further_off() -> None:
    said = answers([0.8, 0.9], probabilities=[1 - 1e-9, 1.0])
    assert disagreements(np.array([0, 0]), said).tolist() == [1, 0]


def test_an_answer_that_is_no_number_is_nothing_to_be_confident_of() -> None:
    said = answers([np.nan, 0.1, np.inf], probabilities=[0.5, 0.1, 1.0])
    assert disagreements(np.array([1, 1, 0]), said).tolist() == [1]


def test_so_many_are_chosen_and_no_more() -> None:
    labels = np.zeros(100, np.int64)
    said = answers(list(np.linspace(0.5, 0.9, 100)))
    assert len(disagreements(labels, said)) == MOST
    assert disagreements(labels, said, 2).tolist() == [99, 98]
    assert disagreements(labels[:0], answers([])).tolist() == []
