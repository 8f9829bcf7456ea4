from __future__ import annotations

from ipaddress import ip_network

import pytest
from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor

from core.commitment_request import STORAGE_COMMITMENT_PUSH_MODEL as STORAGE_COMMITMENT
from core.peers import Peer
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_listener.contexts import VERIFICATION, Offer, offer_for, supported

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.31"
EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


def names(contexts: list[PresentationContext]) -> list[str]:
    return [str(context.abstract_syntax) for context in contexts]


@pytest.mark.parametrize(
    ("uid", "offer"),
    [
        (VERIFICATION, Offer.VERIFICATION),
        (STORAGE_COMMITMENT, Offer.COMMITMENT),
        (DX, Offer.STORAGE),
        ("1.2.3.4", Offer.STORAGE),
        (FIND, None),
        ("1.2.840.10008.1.20.2", None),  # Storage Commitment Pull Model, retired
    ],
)
def test_which_service_a_syntax_belongs_to(uid: str, offer: Offer | None) -> None:
    assert offer_for(uid) is offer


def test_each_class_once_with_every_syntax_we_decode() -> None:
    contexts = supported(["1.2.3.4", VERIFICATION, "1.2.3.4", FIND])
    assert names(contexts) == ["1.2.3.4", VERIFICATION]
    assert tuple(contexts[0].transfer_syntax) == SUPPORTED_TRANSFER_SYNTAXES
    assert list(contexts[1].transfer_syntax) == [EXPLICIT, IMPLICIT]


def test_commitment_is_offered_beside_storage() -> None:
    first, second = supported([STORAGE_COMMITMENT, DX])
    assert names([first, second]) == [STORAGE_COMMITMENT, DX]
    assert set(first.transfer_syntax) == {EXPLICIT, IMPLICIT}


def test_a_peer_s_list_restricts_storage_alone() -> None:
    asked = [DX, CT, VERIFICATION, STORAGE_COMMITMENT, "1.2.3.4"]
    anything = Peer("PACS1", (ip_network("10.1.2.3"),))
    only_dx = Peer("PACS1", (ip_network("10.1.2.3"),), frozenset({DX}))
    assert names(supported(asked, anything)) == asked
    assert names(supported(asked, only_dx)) == [DX, VERIFICATION, STORAGE_COMMITMENT]


@pytest.mark.parametrize(
    ("roles", "result", "answered"),
    [
        (None, 0, []),
        ((True, False), 0, [(True, False)]),
        ((True, True), 0, [(True, False)]),
        ((False, True), 1, []),
    ],
)
def test_we_are_scp_whatever_role_is_proposed(
    roles: tuple[bool, bool] | None, result: int, answered: list[tuple[bool, bool]]
) -> None:
    asked = build_context(DX, [EXPLICIT])
    asked.context_id = 1
    contexts, replies = negotiate_as_acceptor([asked], supported([DX]), {UID(DX): roles} if roles else None)
    assert [context.result for context in contexts] == [result]
    assert [(reply.scu_role, reply.scp_role) for reply in replies if result == 0] == answered


@pytest.mark.parametrize(
    ("offered", "result", "chosen"),
    [([IMPLICIT, EXPLICIT], 0, EXPLICIT), ([BIG_ENDIAN], 4, BIG_ENDIAN), ([BIG_ENDIAN, IMPLICIT], 0, IMPLICIT)],
)
def test_what_cannot_be_decoded_is_rejected(offered: list[str], result: int, chosen: str) -> None:
    asked = build_context(DX, offered)
    asked.context_id = 1
    ((context,), _) = negotiate_as_acceptor([asked], supported([DX]))
    assert (context.result, context.transfer_syntax) == (result, [chosen])
