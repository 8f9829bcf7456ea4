"""Sending over real DIMSE, byte for byte as the file has it, one association an instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pynetdicom import AE, _config

from cli.demo.sending import Sending
from cli.demo.server import HOST

AE_TITLE: Final = "DEMO"
_SECONDS: Final = 30.0
_PDU: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the listener said to one C-STORE.

    Attributes
    ----------
    status : int or None
        The DIMSE status; None if there was none.
    why : str
        Empty if acknowledged, else a few words.
    """

    status: int | None
    why: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the listener now owns the instance: nothing but 0x0000 says so."""
        return self.status == 0


def send(sending: Sending, port: int, ae_title: str) -> Answer:
    """Send one instance and return the answer; never raises for what a peer may do."""
    # sends the file's bytes without reading them; else pydicom would decode and encode anew
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE(ae_title=AE_TITLE)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _SECONDS
    entity.add_requested_context(sending.sop_class_uid, sending.transfer_syntax_uid)
    association = entity.associate(HOST, port, ae_title=ae_title, max_pdu=_PDU)
    if not association.is_established:
        if association.is_rejected:
            return Answer(None, "association rejected")
        return Answer(None, "transfer syntax not accepted" if association.rejected_contexts else "no association")
    try:
        response = association.send_c_store(sending.path)
    except ValueError:
        return Answer(None, "transfer syntax not accepted")
    finally:
        association.release()
    if "Status" not in response:
        return Answer(None, "no answer, or the association broke")
    status = int(response.Status)
    return Answer(status, "" if status == 0 else f"status 0x{status:04X}")
