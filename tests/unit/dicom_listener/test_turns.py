"""Strangers' costly work is done one at a time, and a known peer waits for none of it."""

from __future__ import annotations

import threading

import pytest

from dicom_listener.turns import Turns


def test_a_stranger_waits_for_another_and_no_longer_than_it_says() -> None:
    turns = Turns()
    with turns.of(known=False), pytest.raises(TimeoutError), turns.of(known=False, seconds=0.01):
        pass
    with turns.of(known=False, seconds=0):
        pass


def test_a_time_that_is_over_is_no_time() -> None:
    turns = Turns()
    with turns.of(known=False), pytest.raises(TimeoutError), turns.of(known=False, seconds=-1):
        pass


def test_a_known_peer_neither_waits_nor_is_waited_for() -> None:
    turns = Turns()
    with turns.of(known=False), turns.of(known=True, seconds=0):
        pass
    with turns.of(known=True), turns.of(known=False, seconds=0):
        pass


def test_what_fails_gives_its_turn_back() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="bad"), turns.of(known=False):
        raise ValueError("bad")
    with turns.of(known=False, seconds=0):
        pass


def test_the_next_one_goes_on_when_the_turn_is_over() -> None:
    turns, order = Turns(), []

    def other() -> None:
        with turns.of(known=False):
            order.append("other")

    with turns.of(known=False):
        thread = threading.Thread(target=other)
        thread.start()
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
