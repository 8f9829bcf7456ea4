from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.celery import broker_url
from core.errors import Misconfigured
from core.settings import Settings


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis:6379/0", "redis://:s%2Fe%40cret@redis:6379/0"),
        ("redis://:old@redis:6379/0", "redis://:s%2Fe%40cret@redis:6379/0"),
        ("amqp://lungwatch@rabbit:5672/vhost", "amqp://lungwatch:s%2Fe%40cret@rabbit:5672/vhost"),
    ],
)
def test_password_comes_from_the_file(
    make_settings: Callable[..., Settings], tmp_path: Path, url: str, expected: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s/e@cret\n")
    assert broker_url(make_settings(broker_url=url, broker_password_file=secret)) == expected


def test_an_unreadable_file_is_named(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(broker_url="redis://redis/0", broker_password_file=tmp_path / "missing")
    with pytest.raises(Misconfigured, match="LUNGWATCH_BROKER_PASSWORD_FILE"):
        broker_url(settings)
