"""C-ECHO to the listener of this machine: the question a PACS administrator asks first."""

from __future__ import annotations

import logging
import socket
from typing import Final

from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from core.settings import Settings
from dicom_listener import announcement

_SECONDS: Final = 5
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound
_SUCCESS: Final = 0x0000


def echo(settings: Settings) -> str | None:
    """Ask the listener for a sign of life (PS3.4 A, Verification Service Class).

    Returns
    -------
    str or None
        What is wrong, or None if it answered.
    """
    said = announcement.read(settings)
    port = said.port if said is not None else settings.listen_port
    host = "127.0.0.1" if settings.listen_host in _EVERYWHERE else settings.listen_host
    where = f"{host} port {port}"
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError:
        return f"nothing listens at {where}"
    # what is wrong is said below, once
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    entity = AE(ae_title=settings.ae_title)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    entity.add_requested_context(Verification)
    association = entity.associate(host, port, ae_title=settings.ae_title)
    if not association.is_established:
        return f"the listener at {where} does not accept an association"
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if "Status" not in status or status.Status != _SUCCESS:
        return f"the listener at {where} does not answer C-ECHO"
    return None
