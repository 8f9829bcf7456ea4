"""Which abstract syntaxes are storage SOP classes, and by which keyword PS3.6 knows them.

pydicom's dictionary is loaded when it is first asked, not when this is imported.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import Final

from core.uids import is_uid

_DICOM_ROOT: Final = "1.2.840.10008."
# where PS3.6 registers new storage classes
_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
# classes with "Storage" in their name that are no C-STORE service: commitment push and pull, DICOMDIR
_NOT_BY_C_STORE: Final = frozenset({"1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2", "1.2.840.10008.1.3.10"})


@cache
def _dictionary() -> dict[str, tuple[str, str, str, str, str]]:
    from pydicom._uid_dict import UID_dictionary  # noqa: PLC0415 - 0.3 s and NumPy, for who asks

    return UID_dictionary


@cache
def _storage_keywords() -> dict[str, str]:
    return {entry[4]: uid for uid, entry in _dictionary().items() if entry[4] and is_storage(uid)}


def is_storage(abstract_syntax: str) -> bool:
    """Say whether an abstract syntax is a storage SOP class, as far as can be known.

    Those in PS3.6 by their name; public ones younger than our dictionary by
    where they are registered; private ones always.
    """
    known = _dictionary().get(abstract_syntax)
    if known is not None:
        name, kind = known[0], known[1]
        return kind == "SOP Class" and "Storage" in name and abstract_syntax not in _NOT_BY_C_STORE
    return abstract_syntax.startswith(_STORAGE_ROOT) or not abstract_syntax.startswith(_DICOM_ROOT)


def storage_class(written: str) -> str:
    """Return the UID of a storage SOP class that a person wrote as UID or keyword.

    Parameters
    ----------
    written : str
        For instance ``DigitalXRayImageStorageForPresentation`` or ``1.2.840.10008.5.1.4.1.1.1.1``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        Saying what is wrong, and which keyword may be meant.

    References
    ----------
    DICOM PS3.6 Table A-1.
    """
    if is_uid(written):
        if is_storage(written):
            return written
        message = "is no storage SOP class; list only storage classes (C-ECHO is always allowed)"
        raise ValueError(message)
    found = _storage_keywords().get(written)
    if found is not None:
        return found
    close = difflib.get_close_matches(written, _storage_keywords(), n=1)
    hint = f"did you mean {close[0]}?" if close else "write a UID or a keyword of DICOM PS3.6 Table A-1"
    message = f"is neither a UID nor the keyword of a storage SOP class; {hint}"
    raise ValueError(message)


def keyword(uid: str) -> str:
    """Return the keyword of a SOP class, or the UID itself where PS3.6, as we know it, has none."""
    known = _dictionary().get(uid)
    return known[4] if known is not None and known[4] else uid
