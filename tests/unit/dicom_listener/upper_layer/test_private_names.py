"""What we touch of pynetdicom that it does not promise."""

from __future__ import annotations

import pytest
from pynetdicom.dul import DULServiceProvider

from core.errors import Misconfigured
from dicom_listener.upper_layer.private_names import require_private_names


def test_the_locked_version_has_them() -> None:
    require_private_names()


def test_a_version_without_one_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(DULServiceProvider, "_process_recv_primitive")
    with pytest.raises(Misconfigured, match=r"lacks _process_recv_primitive, .*requirements"):
        require_private_names()
