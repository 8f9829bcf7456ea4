from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import Misconfigured
from core.settings import Settings
from worker.audit import KEY_FILE, audit_key, keyed_draw


def test_the_draw_is_the_same_for_all_who_have_the_key_and_no_other() -> None:
    drawn = keyed_draw(b"key", "audit", "1.2.3")
    assert drawn == keyed_draw(b"key", "audit", "1.2.3")
    others = keyed_draw(b"another", "audit", "1.2.3"), keyed_draw(b"key", "place", "1.2.3")
    assert drawn not in {*others, keyed_draw(b"key", "audit", "1.2.4")}


def test_a_share_of_studies_is_drawn() -> None:
    drawn = sum(keyed_draw(b"key", "audit", f"1.2.{number}") < 0.02 for number in range(50_000))
    # binomial: 1,000 expected, standard deviation 31
    assert 850 < drawn < 1150


def test_an_installation_makes_one_key_for_itself(
    settings: Settings, make_settings: Callable[..., Settings], tmp_path: object
) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {future.result() for future in [pool.submit(audit_key, settings) for _ in range(32)]}
    (key,) = keys
    assert len(key) == 32
    path = settings.data_dir / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in settings.data_dir.iterdir()] == [KEY_FILE]
    assert audit_key(make_settings(data_dir=f"{tmp_path}/another")) != key


def test_a_configured_key_is_taken(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(audit_key="one that the site chose")
    assert audit_key(settings) == b"one that the site chose"
    assert not (settings.data_dir / KEY_FILE).exists()


@pytest.mark.parametrize("content", ["", "abc", "lungwatch" * 8, "00" * 31, "00" * 33])
def test_a_file_without_a_key_is_refused_and_kept(settings: Settings, content: str) -> None:
    path = settings.data_dir / KEY_FILE
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(Misconfigured, match="backup"):
        audit_key(settings)
    assert path.read_text() == content


def test_a_key_that_cannot_be_read_is_refused(settings: Settings) -> None:
    (settings.data_dir / KEY_FILE).mkdir(parents=True)
    with pytest.raises(Misconfigured, match="LUNGWATCH_AUDIT_KEY"):
        audit_key(settings)
