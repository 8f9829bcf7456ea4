"""Which networks a bundle may name: weights are loaded into one of these and into nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bundle.architectures import seed_regularised

ARCHITECTURES: Final[dict[str, Callable[[], Any]]] = {
    "seed_regularised": seed_regularised.build,
}
