from __future__ import annotations

from structlog.testing import capture_logs

from core.logging import get
from core.rarely import Rarely


def test_the_same_event_is_logged_once_an_interval() -> None:
    now = [0.0]
    rarely = Rarely(60, lambda: now[0])
    with capture_logs() as logs:
        for second in (0, 1, 59, 60, 61):
            now[0] = second
            rarely.warning(get(__name__), "again")
        rarely.warning(get(__name__), "other")
    assert [(line["event"], line["left_out"]) for line in logs] == [("again", 0), ("again", 2), ("other", 0)]
