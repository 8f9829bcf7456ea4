"""Which presentation contexts we accept: Verification, and every storage class there is or will be.

PACS forward whole studies, private objects among them, so no list of SOP
classes is ever long enough. pynetdicom's own switch for this
(``UNRESTRICTED_STORAGE_SERVICE``) accepts whatever transfer syntax stands first
in the request, deflated and big endian too, and holds for the whole
interpreter; instead we build the list of supported contexts for each
association from what it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom._uid_dict import UID_dictionary
from pynetdicom.presentation import PresentationContext, build_context

from core.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    SUPPORTED_TRANSFER_SYNTAXES,
)

VERIFICATION: Final = "1.2.840.10008.1.1"
_VERIFICATION_SYNTAXES: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_DICOM_ROOT: Final = "1.2.840.10008."
# where PS3.6 registers new storage classes
_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
# classes with "Storage" in their name that are no C-STORE service: commitment push and pull, DICOMDIR
_NOT_BY_C_STORE: Final = frozenset({"1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2", "1.2.840.10008.1.3.10"})


def is_storage(abstract_syntax: str) -> bool:
    """Say whether an abstract syntax is a storage SOP class, as far as can be known.

    Those in PS3.6 by their name; public ones younger than our dictionary by
    where they are registered; private ones always.
    """
    known = UID_dictionary.get(abstract_syntax)
    if known is not None:
        name, kind = known[0], known[1]
        return kind == "SOP Class" and "Storage" in name and abstract_syntax not in _NOT_BY_C_STORE
    return abstract_syntax.startswith(_STORAGE_ROOT) or not abstract_syntax.startswith(_DICOM_ROOT)


def verification() -> PresentationContext:
    """Return the context of C-ECHO."""
    return build_context(VERIFICATION, list(_VERIFICATION_SYNTAXES))


def supported(requested: Iterable[str]) -> list[PresentationContext]:
    """Return what we support of what a peer asks for.

    Parameters
    ----------
    requested : iterable of str
        Abstract syntaxes of the A-ASSOCIATE-RQ, in any order and number.

    Returns
    -------
    list of PresentationContext
        One for each abstract syntax we serve, with all transfer syntaxes we
        can decode and none that we cannot.
    """
    contexts = []
    for abstract_syntax in dict.fromkeys(requested):
        if abstract_syntax == VERIFICATION:
            contexts.append(verification())
        elif is_storage(abstract_syntax):
            contexts.append(build_context(abstract_syntax, list(SUPPORTED_TRANSFER_SYNTAXES)))
    return contexts
