from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from bundle import store
from bundle.errors import BundleRefused
from bundle.manifest import CHECKS, LITERT, MANIFEST, MODEL_CARD, REQUIRED_FILES, SIGNATURE, WEIGHTS
from bundle.signing import sign
from bundle.store import verify, write
from tests.factories.bundles import make_bundle, make_key, starter

KEY = make_key()
TRUSTED = [KEY.public_key()]
# nothing here is parsed, so it need not be a network; the real one would cost a second of fsync a test
SMALL = {WEIGHTS: b"weights" * 100, LITERT: b"network" * 100}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    directory = tmp_path / "bundle"
    make_bundle(directory, KEY, files=SMALL)
    return directory


def test_a_sound_bundle_verifies_with_and_without_a_registered_digest(bundle: Path) -> None:
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    found = verify(bundle, digest, TRUSTED)
    assert found.digest == digest == verify(bundle, None, TRUSTED).digest
    assert set(found.files) == set(starter().files)
    assert found.files[WEIGHTS] == SMALL[WEIGHTS]


@pytest.mark.parametrize("name", sorted({*REQUIRED_FILES, MANIFEST, SIGNATURE}))
def test_row_24_a_flipped_bit_is_refused(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(bytes(content))
    with pytest.raises(BundleRefused):
        verify(bundle, None, TRUSTED)


@pytest.mark.parametrize("name", sorted({*REQUIRED_FILES, MANIFEST, SIGNATURE}))
def test_rows_24_25_a_missing_or_truncated_file_is_refused_by_name(bundle: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[:-1])
    with pytest.raises(BundleRefused):
        verify(bundle, None, TRUSTED)
    (bundle / name).unlink()
    with pytest.raises(BundleRefused, match=name.replace(".", r"\.")):
        verify(bundle, None, TRUSTED)


def test_row_26_a_bundle_of_another_key_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleRefused, match="no signature of a trusted key"):
        verify(bundle, None, [make_key(2).public_key()])
    with pytest.raises(BundleRefused, match="no signature of a trusted key"):
        verify(bundle, None, [])


def test_row_26_a_sound_bundle_that_is_not_the_registered_one_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleRefused, match="not the one that was registered"):
        verify(bundle, "0" * 64, TRUSTED)


def test_a_signature_over_something_else_is_refused(bundle: Path) -> None:
    # the key's bare signature, without our context, as another protocol might have asked for
    (bundle / SIGNATURE).write_bytes(KEY.sign((bundle / MANIFEST).read_bytes()))
    with pytest.raises(BundleRefused, match="no signature"):
        verify(bundle, None, TRUSTED)


def test_an_extra_file_is_refused_and_not_opened(bundle: Path) -> None:
    extra = bundle / "model.keras"
    os.mkfifo(extra)  # whoever opens this to read it hangs
    with pytest.raises(BundleRefused, match=r"no plain file.*model\.keras"):
        verify(bundle, None, TRUSTED)
    extra.unlink()
    extra.write_bytes(b"anything")
    with pytest.raises(BundleRefused, match=r"does not list.*model\.keras"):
        verify(bundle, None, TRUSTED)


def test_links_and_folders_are_refused(bundle: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (bundle / LITERT).rename(elsewhere)
    (bundle / LITERT).symlink_to(elsewhere)
    with pytest.raises(BundleRefused, match="no plain file"):
        verify(bundle, None, TRUSTED)
    (bundle / LITERT).unlink()
    (bundle / LITERT).mkdir()
    with pytest.raises(BundleRefused, match="no plain file"):
        verify(bundle, None, TRUSTED)


@pytest.mark.parametrize("name", ["../outside", "a/b", "/etc/passwd", ".hidden", "a\0b", "x" * 80, ""])
def test_a_signed_manifest_may_not_name_files_elsewhere(bundle: Path, name: str) -> None:
    files = {**starter().manifest.files, name: "0" * 64}
    content = starter().manifest.model_copy(update={"files": files}).encode()
    (bundle / MANIFEST).write_bytes(content)
    (bundle / SIGNATURE).write_bytes(sign(content, KEY))
    with pytest.raises(BundleRefused, match="does not hold together"):
        verify(bundle, None, TRUSTED)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'{"format": 2}', b"\xff", b"[" * 100_000])
def test_a_signed_manifest_that_is_nonsense_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / MANIFEST).write_bytes(content)
    (bundle / SIGNATURE).write_bytes(sign(content, KEY))
    with pytest.raises(BundleRefused, match="does not hold together"):
        verify(bundle, None, TRUSTED)


def test_an_oversized_manifest_is_refused_before_it_is_read_whole(bundle: Path) -> None:
    with (bundle / MANIFEST).open("r+b") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(BundleRefused, match="larger"):
        verify(bundle, None, TRUSTED)


def test_missing_folder_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="no bundle at"):
        verify(tmp_path / "none", None, TRUSTED)
    with pytest.raises(BundleRefused, match="incomplete or unsigned"):
        verify(tmp_path, None, TRUSTED)


def test_bundles_are_never_overwritten_and_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "bundles" / "one"
    digest = make_bundle(directory, KEY, files=SMALL)
    with pytest.raises(BundleRefused, match="never overwritten"):
        make_bundle(directory, KEY, files=SMALL)
    assert verify(directory, digest, TRUSTED).digest == digest

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", disk_full)
    with pytest.raises(BundleRefused, match="No space left"):
        make_bundle(tmp_path / "bundles" / "two", KEY, files=SMALL)
    assert [path.name for path in directory.parent.iterdir()] == ["one"]


def test_a_manifest_must_list_exactly_what_is_written(tmp_path: Path) -> None:
    files = dict(starter().files)
    del files[CHECKS]
    with pytest.raises(BundleRefused, match="exactly the files"):
        write(tmp_path / "x", starter().manifest, files, KEY)


def test_the_starters_band_has_a_side_below_the_threshold_and_one_above() -> None:
    manifest = starter().manifest
    assert manifest.uncertainty.low < manifest.operating_point.threshold < manifest.uncertainty.high
    assert manifest.uncertainty.chosen_how in starter().files[MODEL_CARD].decode()


@pytest.mark.parametrize("side", ["low", "high"])
def test_a_band_that_only_begins_or_ends_at_the_threshold_is_refused(tmp_path: Path, side: str) -> None:
    manifest = starter().manifest
    band = {**manifest.uncertainty.model_dump(), side: manifest.operating_point.threshold}
    with pytest.raises(ValueError, match="does not lie around the threshold"):
        make_bundle(tmp_path / "bundle", uncertainty=band)


def test_a_writer_whose_folder_was_removed_meanwhile_leaves_no_half_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(name: str) -> None:
        if name == "bundle.half_written":
            (staging,) = tmp_path.glob(".new.*.tmp")
            shutil.rmtree(staging)

    monkeypatch.setattr(store.failpoints, "reach", remove)
    with pytest.raises(BundleRefused, match="was removed while it was written"):
        make_bundle(tmp_path / "new", make_key())
    assert not list(tmp_path.iterdir())


def test_what_another_writer_is_at_is_left_alone(tmp_path: Path) -> None:
    others = tmp_path / ".new.0123abcd.tmp"
    others.mkdir()
    make_bundle(tmp_path / "new", make_key())
    assert others.exists()
