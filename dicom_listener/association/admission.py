"""Who gets an association, decided from the A-ASSOCIATE-RQ before anything else is done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.ae_titles import printable_ae_title
from core.peers import Address, Peer, Peers, PeersFile
from dicom_listener.association.places import Places
from dicom_listener.rejections import Rejection
from dicom_listener.services import Sender
from dicom_listener.storage.disk import Watermark

_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1


@dataclass(frozen=True, slots=True)
class Asking:
    """What is known of a peer when it asks.

    Attributes
    ----------
    application_context : str
    calling_ae_title : str or None
        None where it is none: control characters, or nothing at all.
    called_ae_title : str
    address : Address
    certificate : str or None
        SHA-256 of the client certificate, where one was shown and verified.
    """

    application_context: str
    calling_ae_title: str | None
    called_ae_title: str
    address: Address
    certificate: str | None


class Admission:
    """Judges requests for associations; one for all of a process.

    Parameters
    ----------
    ae_title : str
        Ours.
    check_called : bool
        Whether peers must call us by it.
    peers : PeersFile
    places : Places
    watermark : Watermark
    """

    def __init__(
        self, ae_title: str, *, check_called: bool, peers: PeersFile, places: Places, watermark: Watermark
    ) -> None:
        self._ae_title = ae_title
        self._check_called = check_called
        self._peers = peers
        self._places = places
        self._watermark = watermark
        # no further association is begun
        self.draining = False

    def expects(self, address: Address) -> bool:
        """Say whether any known peer may come from this address."""
        return self._peers.current().expects(address)

    def admit(self, asking: Asking) -> tuple[Sender, int | Rejection]:
        """Say who asks, in words fit for logs and files, and give a place or say why not.

        The place is held until it is given back to `Places`.
        """
        peers = self._peers.current()
        ae_title = printable_ae_title(asking.calling_ae_title)
        known = peers.find(ae_title, asking.address)
        sender = Sender(ae_title, asking.address, printable_ae_title(asking.called_ae_title), known)
        return sender, self._judge(asking, sender, peers) or self._take(sender, peers)

    def _take(self, sender: Sender, peers: Peers) -> int | Rejection:
        known_as = sender.known.ae_title if sender.known is not None else None
        return self._places.take(sender.address, known_as, reserve=bool(peers.peers))

    def _judge(self, asking: Asking, sender: Sender, peers: Peers) -> Rejection | None:
        # PS3.8 Table 9-21: the reasons of the service user, for good, before those of the provider, for now
        judged = {
            Rejection.APPLICATION_CONTEXT: asking.application_context != _APPLICATION_CONTEXT,
            Rejection.CALLED_AE_TITLE: self._check_called and sender.called_ae_title != self._ae_title,
            Rejection.CALLING_AE_TITLE: sender.ae_title is None or not peers.admits(sender.ae_title, sender.address),
            Rejection.CERTIFICATE: not _shows_its_certificate(sender.known, asking),
            Rejection.DRAINING: self.draining,
            Rejection.NO_SPACE: self._watermark.rejects_associations(),
        }
        return next((rejection for rejection, holds in judged.items() if holds), None)


def _shows_its_certificate(known: Peer | None, asking: Asking) -> bool:
    return known is None or known.certificate is None or known.certificate == asking.certificate
