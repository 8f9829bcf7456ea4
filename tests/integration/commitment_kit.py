"""Requests for storage commitment put into the spool as the listener leaves them, and a peer that hears the reports."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.peers import Peer
from core.settings import Settings
from core.spool import Entry, Spool, new_incarnation, place
from db import receipts
from db.base import database_now
from db.models.commitment import Commitment
from db.models.receipt import Receipt
from db.receipts import NewReceipt
from db.vocabulary import ReceiptState
from dicom_listener.registrar.requests import Requests
from dicom_listener.services import Request, Sender
from dicom_listener.storage.commitment import CommitmentService
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import SpoolWriter
from tests.factories.commitment import TRANSACTION, action_information, encode

PUSH_MODEL = "1.2.840.10008.1.20.1"
WELL_KNOWN = f"{PUSH_MODEL}.1"
EXPLICIT = "1.2.840.10008.1.2.1"
LOOPBACK = ipaddress.ip_address("127.0.0.1")


def put_request(
    settings: Settings,
    references: Sequence[tuple[str, str]],
    *,
    peer: str = "PACS",
    transaction_uid: str = TRANSACTION,
    service: CommitmentService | None = None,
) -> Entry:
    """Let the listener's own service take a request, one of a new run unless given, and return its entry."""
    spool = Spool(settings.data_dir.resolve(), settings.listener_name)
    if service is None:
        service = CommitmentService(SpoolWriter(spool, spool.commitments), Watermark(spool.data, 0.0, 0), "LUNGWATCH")
    before = set(spool.commitments.iterdir())
    known = Peer(peer, (ipaddress.ip_network("127.0.0.0/8"),), report_host="127.0.0.1", report_port=104)
    request = Request(
        Sender(peer, LOOPBACK, "LUNGWATCH", known), PUSH_MODEL, EXPLICIT, PUSH_MODEL, WELL_KNOWN, 1, has_data_set=True
    )
    reception = service.begin(request)
    reception.write(memoryview(encode(action_information(references, transaction_uid))))
    assert reception.finish().code == 0
    (path,) = set(spool.commitments.iterdir()) - before
    return Entry.parse(path.name)


@dataclass
class Told:
    """One report that a peer heard."""

    event: int
    transaction_uid: str
    committed: list[tuple[str, str]]
    failed: dict[tuple[str, str], int]


@dataclass
class Ear:
    """A peer that listens for reports, as pynetdicom's SCU does; `status` is what it answers."""

    ae_title: str = "PACS"
    status: int = 0x0000
    require_called: str | None = None
    classes: list[str] = field(default_factory=lambda: [PUSH_MODEL])
    told: list[Told] = field(default_factory=list)
    roles: list[tuple[bool, bool]] = field(default_factory=list)
    _server: Any = None

    @property
    def port(self) -> int:
        return int(self._server.socket.getsockname()[1])

    def start(self, port: int = 0) -> Self:
        entity = AE(ae_title=self.ae_title)
        for abstract_syntax in self.classes:
            # SCU of the class on an association that the SCP requests
            entity.add_supported_context(abstract_syntax, scu_role=False, scp_role=True)
        entity.require_called_aet = self.require_called is not None
        entity.ae_title = self.require_called or self.ae_title
        entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = 20
        self._server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._hear)]
        )
        return self

    def stop(self) -> None:
        self._server.shutdown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _hear(self, event: Any) -> tuple[int, Dataset | None]:
        said = event.event_information
        self.roles += [(item.scu_role, item.scp_role) for item in event.assoc.requestor.role_selection.values()]
        if self.status == 0:
            self.told.append(
                Told(
                    event.event_type,
                    said.TransactionUID,
                    [_pair(item) for item in said.get("ReferencedSOPSequence", [])],
                    {_pair(item): item.FailureReason for item in said.get("FailedSOPSequence", [])},
                )
            )
        return self.status, None


def _pair(item: Dataset) -> tuple[str, str]:
    return str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)


def name_peer(settings: Settings, port: int, ae_title: str = "PACS") -> None:
    """Write a peers file that says where this peer listens for reports."""
    settings.peers.parent.mkdir(parents=True, exist_ok=True)
    settings.peers.write_text(
        f'unknown = "accept"\n[[peer]]\nae_title = "{ae_title}"\naddresses = ["127.0.0.0/8"]\n'
        f'report_to = "127.0.0.1:{port}"\n'
    )


_serial = itertools.count(1)
_INCARNATION = new_incarnation()


def hold(
    settings: Settings,
    sessions: sessionmaker[Session],
    reference: tuple[str, str],
    state: ReceiptState = ReceiptState.CLASSIFIED,
    *,
    stored: bool = True,
) -> Path:
    """Let the ledger hold an instance in a state, with a file where it should lie, and return that."""
    content = repr(reference).encode()
    entry = Entry(_INCARNATION, next(_serial), hashlib.sha256(content).hexdigest())
    path = place(settings.data_dir.resolve(), "listener", entry, stored=stored)
    Spool(settings.data_dir.resolve(), "listener").new.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    new = NewReceipt(
        entry,
        "listener",
        len(content),
        datetime.now(UTC),
        "PACS",
        sop_class_uid=reference[0],
        sop_instance_uid=reference[1],
    )
    with sessions.begin() as session:
        receipts.register(session, [new], 900)
    finish(sessions, reference, state, stored=stored)
    return path


def finish(
    sessions: sessionmaker[Session], reference: tuple[str, str], state: ReceiptState, *, stored: bool = False
) -> None:
    """Put the receipt of an instance into a state."""
    with sessions.begin() as session:
        session.execute(
            update(Receipt)
            .where(Receipt.sop_instance_uid == reference[1])
            .values(state=state, stored_at=datetime.now(UTC) if stored else None)
        )


def ask(
    settings: Settings,
    sessions: sessionmaker[Session],
    references: Sequence[tuple[str, str]],
    *,
    age: float = 60.0,
    **how: str,
) -> Entry:
    """Put a request into the spool that was received some seconds ago, and register it."""
    entry = put_request(settings, references, **how)
    path = Spool(settings.data_dir.resolve(), "listener").commitments / entry.file_name
    then = time.time() - age
    os.utime(path, (then, then))
    Requests(Spool(settings.data_dir, "listener"), sessions, lambda: None, SystemClock()).register_new()
    return entry


def request_rows(sessions: sessionmaker[Session]) -> list[Commitment]:
    with sessions() as session:
        return list(session.scalars(select(Commitment).order_by(Commitment.id)))


def hurry(sessions: sessionmaker[Session]) -> None:
    """Let every request be due, and every lease be over."""
    with sessions.begin() as session:
        session.execute(update(Commitment).values(next_at=database_now(-1), lease_until=database_now(-1)))
