from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import FitFailed
from training.fitting.board import Board

pytestmark = pytest.mark.tensorflow


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FitFailed, match=r"file/board: TensorBoard's files cannot be written there"):
        Board(tmp_path / "file" / "board")
