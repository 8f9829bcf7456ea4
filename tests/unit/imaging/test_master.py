from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import TransientFailure
from imaging.master import MissingMaster, load_master, master_digest, master_path, quality, save_master, shrink


def noise(rows: int, columns: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    return np.random.default_rng(seed).integers(0, 65536, (rows, columns)).astype(np.uint16)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3000, 2500), (512, 427)),
        ((2500, 3000), (427, 512)),
        ((1024, 1024), (512, 512)),
        ((513, 1), (512, 1)),
        ((4000, 2), (512, 1)),
        ((512, 512), (512, 512)),
        ((224, 100), (224, 100)),
        ((1, 1), (1, 1)),
    ],
)
def test_the_longest_side_becomes_512_and_nothing_grows(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    master = shrink(noise(*shape))
    assert master.shape == expected
    assert master.dtype == np.uint16


def test_shrinking_in_bands_is_shrinking_at_once() -> None:
    grey = noise(1500, 1100)
    once = Image.fromarray(grey.astype(np.float32)).resize((375, 512), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(shrink(grey), np.rint(np.asarray(once)).clip(0, 65535).astype(np.uint16))


@pytest.mark.parametrize("factor", [4, 16])
def test_means_of_blocks_are_exact_however_large_the_blocks(factor: int) -> None:
    grey = np.random.default_rng(factor).integers(65000, 65536, (2 * factor, 1024 * factor)).astype(np.uint16)
    exact = grey.reshape(2, factor, 1024, factor).sum(axis=(1, 3), dtype=np.uint64) / factor**2
    shrunk = Image.fromarray(exact.astype(np.float32)).resize((512, 1), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(shrink(grey), np.rint(np.asarray(shrunk)).clip(0, 65535).astype(np.uint16))


def test_an_even_grey_stays_what_it_was() -> None:
    for value in (0, 1, 12345, 65535):
        assert (shrink(np.full((1000, 800), value, np.uint16)) == value).all()


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = np.zeros((2048, 2048), np.uint16)
    stripes[:, ::2] = 65534
    inner = shrink(stripes)[8:-8, 8:-8]
    assert abs(inner.astype(int) - 32767).max() < 350


def test_overshoot_is_cut_off() -> None:
    step = np.zeros((2000, 2000), np.uint16)
    step[:, 1000:] = 65535
    master = shrink(step)
    assert master[:, 0].max() == 0
    assert master[:, -1].min() == 65535
    # without cutting, values under black would have wrapped to white
    assert (master[:, :250] < 6000).all()


def test_a_master_is_kept_under_the_digest_of_its_pixels(tmp_path: Path) -> None:
    master = shrink(noise(700, 600))
    digest = save_master(tmp_path, master)
    assert digest == master_digest(master)
    assert master_path(tmp_path, digest) == tmp_path / digest[:2] / f"{digest}.png"
    np.testing.assert_array_equal(load_master(tmp_path, digest), master)
    with Image.open(master_path(tmp_path, digest)) as image:
        assert image.mode == "I;16"


@pytest.mark.parametrize("shape", [(1, 1), (512, 1), (1, 512), (5, 7), (512, 512)])
def test_a_master_of_any_shape_fits_its_file_even_if_nothing_can_be_packed(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    master = noise(*shape)
    np.testing.assert_array_equal(load_master(tmp_path, save_master(tmp_path, master)), master)


def test_keeping_it_again_changes_nothing(tmp_path: Path) -> None:
    master = noise(50, 60)
    path = master_path(tmp_path, save_master(tmp_path, master))
    before = path.stat().st_ino
    save_master(tmp_path, master)
    assert path.stat().st_ino == before
    assert len(list(tmp_path.rglob("*.*"))) == 1


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_missing_or_damaged_master_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    master = noise(50, 60)
    digest = save_master(tmp_path, master)
    path = master_path(tmp_path, digest)
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:200])
        case "other":
            path.write_bytes(master_path(tmp_path, save_master(tmp_path, noise(50, 60, 1))).read_bytes())
    with pytest.raises(MissingMaster):
        load_master(tmp_path, digest)
    save_master(tmp_path, master)
    np.testing.assert_array_equal(load_master(tmp_path, digest), master)


def test_a_directory_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TransientFailure):
        save_master(tmp_path / "file" / "masters", noise(5, 5))


def test_a_disk_that_does_not_show_a_master_is_transient_and_a_damaged_one_is_missing(tmp_path: Path) -> None:
    master = noise(5, 5)
    path = master_path(tmp_path, save_master(tmp_path, master))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MissingMaster):
        load_master(tmp_path, master_digest(master))
    path.unlink()
    path.mkdir()
    with pytest.raises(TransientFailure) as refused:
        load_master(tmp_path, master_digest(master))
    assert not isinstance(refused.value, MissingMaster)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_a_digest_never_leads_out(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        load_master(tmp_path, digest)


def test_the_digest_depends_on_the_shape() -> None:
    flat = np.arange(12, dtype=np.uint16)
    assert master_digest(flat.reshape(3, 4)) != master_digest(flat.reshape(4, 3))


def test_quality_counts_spread_and_ends() -> None:
    master = np.full((100, 100), 32768, np.uint16)
    assert quality(master, 700).spread == 0
    master[:25] = 0
    master[75:] = 65535
    found = quality(master, 700)
    assert (found.spread, found.clipped, found.shorter_side) == (1.0, 0.5, 700)
