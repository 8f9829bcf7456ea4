from __future__ import annotations

from pydicom import uid

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.transfer_syntaxes import ENCAPSULATED, OTHER, SUPPORTED_TRANSFER_SYNTAXES, SYNTAX_NAMES, syntax_name


def test_each_is_a_transfer_syntax_named_once() -> None:
    assert all(uid.UID(syntax).is_transfer_syntax for syntax in SUPPORTED_TRANSFER_SYNTAXES)
    assert len(set(SUPPORTED_TRANSFER_SYNTAXES)) == len(SUPPORTED_TRANSFER_SYNTAXES)


def test_encapsulated_ones_are_those_of_the_standard() -> None:
    for syntax in SUPPORTED_TRANSFER_SYNTAXES:
        assert uid.UID(syntax).is_encapsulated == (syntax in ENCAPSULATED)


def test_what_may_inflate_or_is_retired_is_not_accepted() -> None:
    refused = (uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.MPEG2MPML, uid.HEVCMP51)
    assert not set(refused) & set(SUPPORTED_TRANSFER_SYNTAXES)


def test_names_are_the_standards_keywords_and_never_what_was_sent() -> None:
    names = [syntax_name(syntax) for syntax in SUPPORTED_TRANSFER_SYNTAXES]
    assert names == [uid.UID(syntax).keyword for syntax in SUPPORTED_TRANSFER_SYNTAXES]
    assert (*names, OTHER) == SYNTAX_NAMES
    for sent in (uid.MPEG2MPML, "1.2.3", "", 'x"} 1\n'):
        assert syntax_name(sent) == OTHER


def test_who_we_are_fits_the_standard() -> None:
    # PS3.5 9.1 and PS3.7 D.3.3.2
    assert uid.UID(IMPLEMENTATION_CLASS_UID).is_valid
    assert 1 <= len(IMPLEMENTATION_VERSION_NAME) <= 16
