from __future__ import annotations

import subprocess
import sys

import pytest
from pynetdicom.presentation import AllStoragePresentationContexts

from core.sop_classes import is_storage, keyword, storage_class

DX = "1.2.840.10008.5.1.4.1.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"


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
    with pytest.raises(ValueError, match="no storage SOP class"):
        storage_class(uid)


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.6", "1.2.3.4", "2.25.1"])
def test_retired_and_private_classes_are(uid: str) -> None:
    assert is_storage(uid)
    assert storage_class(uid) == uid


def test_a_keyword_means_its_uid_and_back() -> None:
    assert storage_class("DigitalXRayImageStorageForPresentation") == DX
    assert keyword(DX) == "DigitalXRayImageStorageForPresentation"
    assert keyword("1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("DigitalXrayImageStorageForPresentation", "did you mean DigitalXRayImageStorageForPresentation"),
        ("Verification", "PS3.6"),
        ("", "PS3.6"),
    ],
)
def test_another_word_is_refused_with_a_hint(written: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        storage_class(written)


def test_importing_it_loads_no_pydicom() -> None:
    code = "import sys; import core.peers; print('pydicom' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
