"""Which presentation contexts we accept: Verification, storage commitment, and every storage class there is or will be.

PACS forward whole studies, private objects among them, so no list of SOP
classes is ever long enough. pynetdicom's own switch for this
(``UNRESTRICTED_STORAGE_SERVICE``) accepts whatever transfer syntax stands first
in the request, deflated and big endian too, and holds for the whole
interpreter; instead we build the list of supported contexts for each
association from what it asks for and from what its peer may send.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from pynetdicom.presentation import PresentationContext, build_context

from core.commitment_request import STORAGE_COMMITMENT_PUSH_MODEL
from core.peers import Peer
from core.sop_classes import is_storage
from core.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    SUPPORTED_TRANSFER_SYNTAXES,
)
from core.uids import is_uid

VERIFICATION: Final = "1.2.840.10008.1.1"
_PLAIN: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a service is offered; our role is SCP throughout.

    Attributes
    ----------
    name : str
        As the standard calls it.
    abstract_syntax : str or None
        None means every storage SOP class.
    transfer_syntaxes : tuple of str
        UIDs, in the order we choose by.
    operations : str
        What the peer, as SCU, may ask for.
    source : str
        Where the standard defines it.
    """

    name: str
    abstract_syntax: str | None
    transfer_syntaxes: tuple[str, ...]
    operations: str
    source: str


@unique
class Offer(Enum):
    """All we offer as acceptor of an association; the conformance statement is made from it."""

    VERIFICATION = Terms("Verification", VERIFICATION, _PLAIN, "C-ECHO", "PS3.4 Annex A")
    STORAGE = Terms("Storage", None, SUPPORTED_TRANSFER_SYNTAXES, "C-STORE", "PS3.4 Annex B")
    COMMITMENT = Terms(
        "Storage Commitment Push Model", STORAGE_COMMITMENT_PUSH_MODEL, _PLAIN, "N-ACTION 1 (request)", "PS3.4 Annex J"
    )


def offer_for(abstract_syntax: str) -> Offer | None:
    """Return the service an abstract syntax belongs to, or None if it is none of ours."""
    if not is_uid(abstract_syntax):
        return None
    for offer in Offer:
        if offer.value.abstract_syntax == abstract_syntax:
            return offer
    return Offer.STORAGE if is_storage(abstract_syntax) else None


def supported(requested: Iterable[str], peer: Peer | None = None) -> list[PresentationContext]:
    """Return what we support of what a peer asks for.

    Parameters
    ----------
    requested : iterable of str
        Abstract syntaxes of the A-ASSOCIATE-RQ, in any order and number.
    peer : Peer or None
        Its entry in the peers file; its list of SOP classes, where it has
        one, restricts storage and nothing else.

    Returns
    -------
    list of PresentationContext
        One for each abstract syntax we serve, with all transfer syntaxes we
        can decode and none that we cannot. Whoever proposes roles (PS3.7
        D.3.3.4) is told that we are SCP, and a context proposed for an SCP
        alone is rejected.
    """
    contexts = []
    for abstract_syntax in dict.fromkeys(requested):
        offer = offer_for(abstract_syntax)
        if offer is None:
            continue
        if offer is Offer.STORAGE and peer is not None and not _may_send(peer, abstract_syntax):
            continue
        contexts.append(_context(abstract_syntax, offer))
    return contexts


def _may_send(peer: Peer, abstract_syntax: str) -> bool:
    return peer.sop_classes is None or abstract_syntax in peer.sop_classes


def _context(abstract_syntax: str, offer: Offer) -> PresentationContext:
    context = build_context(abstract_syntax, list(offer.value.transfer_syntaxes))
    # the roles of the requestor that we agree to
    context.scu_role, context.scp_role = True, False
    return context
