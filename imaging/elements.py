"""Typed access to elements of a data set somebody else wrote: a value of the wrong kind is a coded rejection."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

from pydicom import Dataset, config
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from core.errors import RejectedInput
from imaging.reasons import Rejection


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from judging, warning and logging: its messages quote the value they are about."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def raw(dataset: Dataset, keyword: str | BaseTag) -> Any:
    """Return an element's value as pydicom gives it, None if absent.

    Raises
    ------
    RejectedInput
        ``BAD_HEADER`` if it cannot be read.
    """
    try:
        with quiet():
            if isinstance(keyword, str):
                return dataset.get(keyword)
            return dataset[keyword].value if keyword in dataset else None
    except MemoryError:
        raise
    except Exception as error:  # conversion is lazy, and pydicom raises whatever the bytes provoke
        raise RejectedInput(Rejection.BAD_HEADER, f"{keyword} cannot be read ({type(error).__name__})") from error


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    value = raw(dataset, keyword)
    if value is None or (isinstance(value, (str, bytes)) and not value):
        return []
    return list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return every value as text; empty if the element is absent or empty.

    Raises
    ------
    RejectedInput
        ``BAD_HEADER`` if it cannot be read.
    """
    try:
        with quiet():
            return tuple(str(value) for value in _values(dataset, keyword))
    except (LookupError, ValueError, TypeError, AttributeError) as error:  # a person's name is decoded only here
        raise RejectedInput(Rejection.BAD_HEADER, f"{keyword} is no text ({type(error).__name__})") from error


def text(dataset: Dataset, keyword: str) -> str:
    """Return the whole element as text, values parted by backslashes as in the file; empty if absent."""
    return "\\".join(texts(dataset, keyword))


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return every value as a finite number.

    Raises
    ------
    RejectedInput
        ``BAD_HEADER`` if one is none.
    """
    try:
        found = tuple(float(value) for value in _values(dataset, keyword))
    except (TypeError, ValueError, OverflowError) as error:
        raise RejectedInput(Rejection.BAD_HEADER, f"{keyword} is not a number") from error
    if not all(math.isfinite(value) for value in found):
        raise RejectedInput(Rejection.BAD_HEADER, f"{keyword} is not a finite number")
    return found


def number(dataset: Dataset, keyword: str) -> int | None:
    """Return the single whole number of an element; None if it is absent or empty.

    Raises
    ------
    RejectedInput
        ``BAD_HEADER`` if there are several, or it is not whole, or no number
        that an *Integer String* may hold (PS3.5 6.2: 32 bits signed): any VR
        may stand in a file, and the ledger's columns hold no more.
    """
    found = numbers(dataset, keyword)
    if not found:
        return None
    if len(found) > 1 or not found[0].is_integer():
        raise RejectedInput(Rejection.BAD_HEADER, f"{keyword} is not one whole number")
    if not -(2**31) <= found[0] < 2**31:
        raise RejectedInput(Rejection.BAD_HEADER, f"{keyword} is beyond what an integer may be")
    return int(found[0])


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; empty if it is absent or is no sequence."""
    value = raw(dataset, keyword)
    return tuple(value) if isinstance(value, Sequence) else ()
