from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bundle.tensorflow_settings import before_tensorflow

PROGRAM = """
from bundle.tensorflow_settings import before_tensorflow
before_tensorflow()
import tensorflow
from tensorflow.python.util import _pywrap_util_port
print(_pywrap_util_port.IsMklEnabled())
"""


def test_tensorflow_computes_with_onednn_where_it_would_not_by_itself() -> None:
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "ABSL_"))}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=unset, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_whoever_set_it_before_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    monkeypatch.delenv("ABSL_MIN_LOG_LEVEL", raising=False)
    before_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"
    assert os.environ["ABSL_MIN_LOG_LEVEL"] == "3"
