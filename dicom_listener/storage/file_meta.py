"""The file meta information we put before a received data set, and the little we read back from it.

Written by hand rather than by pydicom: the data set that follows must not be
touched, and building ten elements needs neither validation warnings (which
quote received values) nor time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from core.ae_titles import printable_ae_title
from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.part10 import (
    LONG_FORM,
    PREAMBLE,
    SENDING_AE_TITLE,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    SOURCE_ADDRESS,
    TRANSFER_SYNTAX,
    meta_elements,
)
from core.uids import is_uid

# ours takes some 350 bytes; whatever stands there instead is not read further than this
_MOST_BYTES_READ: Final = 4096


def encode(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    sending_ae_title: str | None,
    receiving_ae_title: str,
    source_address: IPv4Address | IPv6Address | None = None,
) -> bytes:
    """Return preamble, prefix and group 0002 for a data set received over an association.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid : str
        From the command, checked to be UIDs.
    transfer_syntax_uid : str
        Of the presentation context.
    sending_ae_title : str or None
        Of the peer, printable; also the *Source Application Entity Title*.
    receiving_ae_title : str
        Ours, as the peer called us.
    source_address : IPv4Address or IPv6Address, optional
        Where the peer's connection came from, as *Source Presentation Address*.

    References
    ----------
    DICOM PS3.10 7.1, Table 7.1-1.
    """
    elements = [
        (0x0001, b"OB", b"\x00\x01"),
        (SOP_CLASS_UID, b"UI", sop_class_uid.encode("ascii")),
        (SOP_INSTANCE_UID, b"UI", sop_instance_uid.encode("ascii")),
        (TRANSFER_SYNTAX, b"UI", transfer_syntax_uid.encode("ascii")),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    if sending_ae_title is not None:
        sender = sending_ae_title.encode("ascii")
        elements += [(0x0016, b"AE", sender), (SENDING_AE_TITLE, b"AE", sender)]
    elements.append((0x0018, b"AE", receiving_ae_title.encode("ascii")))
    if source_address is not None:
        host = f"[{source_address}]" if source_address.version == 6 else str(source_address)  # noqa: PLR2004
        elements.append((SOURCE_ADDRESS, b"UR", f"dicom://{host}".encode("ascii")))
    group = b"".join(_element(*element) for element in elements)
    return PREAMBLE + _element(0x0000, b"UL", struct.pack("<L", len(group))) + group


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in {b"UI", b"OB"} else b" "
    if vr in LONG_FORM:
        return struct.pack("<HH2sHL", 0x0002, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a spooled file, and of which SOP instance; None where it is not said or nothing that it could be.

    Attributes
    ----------
    sending_ae_title : str or None
        (0002,0017), printable.
    sop_class_uid, sop_instance_uid : str or None
        (0002,0002) and (0002,0003).
    """

    sending_ae_title: str | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None


def read_origin(path: Path) -> Origin:
    """Read file meta information back from a spooled file.

    Reads at most 4 KiB and tolerates anything: where an instance comes from is
    worth knowing and never worth failing for.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_MOST_BYTES_READ)
    except OSError:
        return Origin()
    found = {element.number: element.value(head) for element in meta_elements(head) if element.end <= len(head)}
    return Origin(
        printable_ae_title(found.get(SENDING_AE_TITLE, b"").decode("ascii", errors="replace")),
        _uid(found.get(SOP_CLASS_UID, b"")),
        _uid(found.get(SOP_INSTANCE_UID, b"")),
    )


def _uid(value: bytes) -> str | None:
    text = value.rstrip(b"\0 ").decode("ascii", errors="replace")
    return text if is_uid(text) else None
