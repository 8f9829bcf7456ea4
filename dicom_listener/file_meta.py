"""The file meta information we put before a received data set, and the little we read back from it.

Written by hand rather than by pydicom: the data set that follows must not be
touched, and building ten elements needs neither validation warnings (which
quote received values) nor time.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.part10 import LONG_FORM, PREAMBLE, SENDING_AE_TITLE, TRANSFER_SYNTAX, meta_elements
from dicom_listener.peers import printable_ae_title

# ours takes some 350 bytes; whatever stands there instead is not read further than this
_MOST_BYTES_READ: Final = 4096


def encode(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    sending_ae_title: str | None,
    receiving_ae_title: str,
) -> bytes:
    """Return preamble, prefix and group 0002 for a data set received over an association.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid : str
        From the C-STORE command, checked to be UIDs.
    transfer_syntax_uid : str
        Of the presentation context.
    sending_ae_title : str or None
        Of the peer, printable; also the *Source Application Entity Title*.
    receiving_ae_title : str
        Ours, as the peer called us.

    References
    ----------
    DICOM PS3.10 7.1, Table 7.1-1.
    """
    elements = [
        (0x0001, b"OB", b"\x00\x01"),
        (0x0002, b"UI", sop_class_uid.encode("ascii")),
        (0x0003, b"UI", sop_instance_uid.encode("ascii")),
        (TRANSFER_SYNTAX, b"UI", transfer_syntax_uid.encode("ascii")),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    if sending_ae_title is not None:
        sender = sending_ae_title.encode("ascii")
        elements += [(0x0016, b"AE", sender), (SENDING_AE_TITLE, b"AE", sender)]
    elements.append((0x0018, b"AE", receiving_ae_title.encode("ascii")))
    group = b"".join(_element(*element) for element in elements)
    return PREAMBLE + _element(0x0000, b"UL", struct.pack("<L", len(group))) + group


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in {b"UI", b"OB"} else b" "
    if vr in LONG_FORM:
        return struct.pack("<HH2sHL", 0x0002, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def read_sending_ae_title(path: Path) -> str | None:
    """Return (0002,0017) *Sending Application Entity Title* of a spooled file.

    Reads at most 4 KiB and tolerates anything: who sent an instance is worth
    knowing and never worth failing for.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_MOST_BYTES_READ)
    except OSError:
        return None
    for element in meta_elements(head):
        if element.number == SENDING_AE_TITLE:
            return printable_ae_title(element.value(head).decode("ascii", errors="replace"))
    return None
