"""Stock pynetdicom, written as its own examples are, in two ways.

``naive`` parses the data set and saves it again, with the PDU length that
pynetdicom asks for by default; ``encoded`` writes the bytes as they came and
asks for 128 KiB. Neither syncs anything.

``python -m bench.stock naive|encoded PORT FOLDER``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, AllStoragePresentationContexts, evt

_LARGE_PDU: Final = 128 * 1024
# a stock entity takes ten; a rejection would be no measurement of how fast it is
_MANY_ASSOCIATIONS: Final = 1000


def naive(folder: Path) -> Callable[[Any], int]:
    """Return a handler that parses and saves."""

    def store(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    return store


def encoded(folder: Path) -> Callable[[Any], int]:
    """Return a handler that writes the bytes as they came."""

    def store(event: Any) -> int:
        (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    return store


def main(way: str, port: int, folder: Path) -> None:
    """Serve until killed."""
    entity = AE()
    entity.maximum_associations = _MANY_ASSOCIATIONS
    entity.supported_contexts = AllStoragePresentationContexts
    if way == "encoded":
        entity.maximum_pdu_size = _LARGE_PDU
    handler = encoded(folder) if way == "encoded" else naive(folder)
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, handler)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
