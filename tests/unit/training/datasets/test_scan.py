from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.factories.collections import published, write_zip
from training.datasets.dataset import Item, Rendered, open_dataset
from training.datasets.scan import scan
from training.errors import DatasetError

FILES = {**published(20, 20), "train/NORMAL/IM-0005-0001.jpeg": b"broken"}


def test_images_come_in_order_and_few_at_a_time(tmp_path: Path) -> None:
    opened, threads, steps = 0, set(), []
    lock = threading.Lock()

    def look(item: Item, rendered: Rendered) -> str:
        nonlocal opened
        with lock:
            opened += 1
            threads.add(threading.get_ident())
        assert rendered.master.shape == (32, 32)
        return item.key

    with open_dataset(write_zip(tmp_path / "c.zip", FILES)) as dataset:
        seen = []
        for number, (item, found) in enumerate(scan(dataset, dataset.items, look, lambda: steps.append(1)), 1):
            seen.append(item)
            assert opened <= number + 8, "read far ahead of who looks"
            if item.key == "train/NORMAL/IM-0005-0001.jpeg":
                assert isinstance(found, DatasetError)
            else:
                assert found == item.key
        assert tuple(seen) == dataset.items
    assert len(steps) == 40
    assert 1 <= len(threads) <= 2


def test_an_error_of_who_looks_ends_it(tmp_path: Path) -> None:
    def look(_: Item, __: Rendered) -> None:
        raise ArithmeticError

    with open_dataset(write_zip(tmp_path / "c.zip", FILES)) as dataset, pytest.raises(ArithmeticError):
        list(scan(dataset, dataset.items, look))
