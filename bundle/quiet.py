"""Keep TensorFlow's start-up talk (missing GPU, processor features) off the terminal."""

from __future__ import annotations

import os


def hush_tensorflow() -> None:
    """Set what TensorFlow reads while it is imported; whoever set it before is obeyed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
