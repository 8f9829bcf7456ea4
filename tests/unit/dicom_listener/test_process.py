from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dicom_listener.association.acceptor import Drain
from dicom_listener.association.door import Door
from dicom_listener.process import _accept


def test_a_process_whose_door_fails_wants_to_stop() -> None:
    """Else it would live on and accept nothing, and nobody would notice."""
    drain = Drain()
    drain.begin()
    drain.bell.close()
    acceptor: Any = SimpleNamespace(drain=drain)
    stop = threading.Event()
    with pytest.raises(ValueError, match="file descriptor"):
        _accept(Door([], acceptor, lambda: pytest.fail("nobody came"), 1), stop)
    assert stop.is_set()
