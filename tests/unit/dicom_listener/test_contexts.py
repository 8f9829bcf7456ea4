from __future__ import annotations

import pytest
from pynetdicom.presentation import AllStoragePresentationContexts

from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_listener.contexts import VERIFICATION, is_storage, supported


def test_every_storage_class_pynetdicom_knows_is_storage() -> None:
    contexts = AllStoragePresentationContexts
    assert len(contexts) > 120
    assert [str(context.abstract_syntax) for context in contexts if not is_storage(str(context.abstract_syntax))] == []


@pytest.mark.parametrize(
    "uid",
    [
        VERIFICATION,
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.3.10",  # Media Storage Directory Storage
        "1.2.840.10008.5.1.4.1.2.2.1",  # Study Root Query/Retrieve - FIND
        "1.2.840.10008.5.1.4.31",  # Modality Worklist - FIND
        "1.2.840.10008.5.1.1.9",  # Basic Grayscale Print Management
        "1.2.840.10008.3.1.1.1",  # an application context
        "1.2.840.10008.9.9.9",  # public, unknown, not where storage classes are
    ],
)
def test_other_services_are_not(uid: str) -> None:
    assert not is_storage(uid)


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.6", "1.2.3.4", "2.25.1"])
def test_retired_and_private_classes_are(uid: str) -> None:
    assert is_storage(uid)


def test_each_class_once_with_every_syntax_we_decode() -> None:
    contexts = supported(["1.2.3.4", VERIFICATION, "1.2.3.4", "1.2.840.10008.5.1.4.31"])
    assert [context.abstract_syntax for context in contexts] == ["1.2.3.4", VERIFICATION]
    assert tuple(contexts[0].transfer_syntax) == SUPPORTED_TRANSFER_SYNTAXES
