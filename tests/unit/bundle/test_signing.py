from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.signing import RELEASE_KEY, is_signed, private_key, public_key, sign, trusted_keys
from core.errors import Misconfigured
from core.settings import Settings
from tests.factories.bundles import make_key, write_private, write_public

Make = Callable[..., Settings]


def test_a_signature_holds_for_its_bytes_and_key_alone() -> None:
    key, other = make_key(1), make_key(2)
    signature = sign(b"manifest", key)
    assert is_signed(b"manifest", signature, [other.public_key(), key.public_key()])
    assert not is_signed(b"manifesT", signature, [key.public_key()])
    assert not is_signed(b"manifest", signature, [other.public_key()])
    assert not is_signed(b"manifest", b"", [key.public_key()])


def test_the_release_key_is_always_trusted(settings: Settings) -> None:
    assert [key.public_bytes_raw() for key in trusted_keys(settings)] == [public_key(RELEASE_KEY).public_bytes_raw()]


def test_trusted_are_the_folders_keys_and_our_own(make_settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    write_public(make_key(1), folder / "site.pem")
    (folder / "README.txt").write_text("not a key")
    own = write_private(make_key(2), tmp_path / "own.pem")
    settings = make_settings(trusted_keys_dir=folder, signing_key_file=own)
    raw = [key.public_bytes_raw() for key in trusted_keys(settings)]
    assert raw[1:] == [make_key(1).public_key().public_bytes_raw(), make_key(2).public_key().public_bytes_raw()]


def test_keys_that_cannot_be_used_are_named(make_settings: Make, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="LUNGWATCH_SIGNING_KEY_FILE is not set"):
        private_key(make_settings())
    with pytest.raises(Misconfigured, match="cannot be read"):
        private_key(make_settings(signing_key_file=tmp_path / "none.pem"))
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nonsense")
    with pytest.raises(Misconfigured, match="no unencrypted Ed25519 private key"):
        private_key(make_settings(signing_key_file=wrong))
    with pytest.raises(Misconfigured, match="no unencrypted Ed25519 private key"):
        private_key(make_settings(signing_key_file=write_public(make_key(), tmp_path / "public.pem")))
    with pytest.raises(Misconfigured, match="no Ed25519 public key"):
        trusted_keys(make_settings(trusted_keys_dir=tmp_path))
    for place in (tmp_path / "none", wrong):
        with pytest.raises(Misconfigured, match="LUNGWATCH_TRUSTED_KEYS_DIR cannot be read"):
            trusted_keys(make_settings(trusted_keys_dir=place))
    (tmp_path / "keys" / "unreadable.pem").mkdir(parents=True)
    with pytest.raises(Misconfigured, match=r"unreadable\.pem cannot be read"):
        trusted_keys(make_settings(trusted_keys_dir=tmp_path / "keys"))
