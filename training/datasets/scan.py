"""Going through the images of a data set, several at a time, with no more of them in memory than are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from training.datasets.dataset import Dataset, Item, Rendered
from training.errors import DatasetError

_WORKERS: Final = 2
_AHEAD: Final = 4

Found = TypeVar("Found")


def scan(
    dataset: Dataset,
    items: Sequence[Item],
    look: Callable[[Item, Rendered], Found],
    advance: Callable[[], None] = lambda: None,
    workers: int = _WORKERS,
) -> Generator[tuple[Item, Found | DatasetError]]:
    """Open images and look at each.

    Parameters
    ----------
    look : callable
        Runs in one of `workers` threads; what it returns should be small.
    advance : callable
        Called after each image, for a progress bar.

    Yields
    ------
    item : Item
        In the order of `items`.
    found : Found or DatasetError
        What `look` returned, or why the image cannot be read.
    """

    def work(item: Item) -> Found | DatasetError:
        try:
            return look(item, dataset.render(item))
        except DatasetError as error:
            return error

    waiting: deque[tuple[Item, Future[Found | DatasetError]]] = deque()
    with ThreadPoolExecutor(workers, "scan") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= workers * _AHEAD:
                    yield _next(waiting, advance)
            while waiting:
                yield _next(waiting, advance)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _next(
    waiting: deque[tuple[Item, Future[Found | DatasetError]]], advance: Callable[[], None]
) -> tuple[Item, Found | DatasetError]:
    item, future = waiting.popleft()
    found = future.result()
    advance()
    return item, found
