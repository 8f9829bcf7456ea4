"""What TensorFlow reads from the environment while it is imported, and never again."""

from __future__ import annotations

import os


def before_tensorflow() -> None:
    """Quieten TensorFlow, and let it compute on CPUs with oneDNN; whoever set it before is obeyed.

    TensorFlow uses oneDNN by itself only on processors with AVX-512 VNNI. On those with AVX2 it is
    faster as well, and asked for everywhere it rounds everywhere alike (docs/decisions/0023-onednn.md).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
