"""What an association asks of a service, and what a service gives back; nothing here knows how bytes arrive.

A request's command set is complete before its service is asked; its data set,
if there is one, is handed over in fragments as they come. The service answers
once, after the last of them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Protocol

from core.peers import Peer
from dicom_listener.status import Answer, EchoStatus


@dataclass(frozen=True, slots=True)
class Sender:
    """The peer of an association.

    Attributes
    ----------
    ae_title : str or None
        As it calls itself, printable; None where nothing printable is left.
    address : IPv4Address or IPv6Address
        Where its connection comes from.
    called_ae_title : str or None
        As it calls us, printable.
    known : Peer or None
        Its entry in the peers file, if it has one.
    """

    ae_title: str | None
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    called_ae_title: str | None
    known: Peer | None


@dataclass(frozen=True, slots=True)
class Request:
    """One DIMSE request; nothing in it has been checked but its lengths.

    Attributes
    ----------
    sender : Sender
    abstract_syntax, transfer_syntax : str
        Of the presentation context it came on.
    sop_class_uid, sop_instance_uid : str or None
        (0000,0002) or (0000,0003), and (0000,1000) or (0000,1001); None where missing or longer than a UID can be.
    action_type : int or None
        (0000,1008) *Action Type ID* of an N-ACTION.
    has_data_set : bool
        What (0000,0800) *Command Data Set Type* says.
    """

    sender: Sender
    abstract_syntax: str
    transfer_syntax: str
    sop_class_uid: str | None
    sop_instance_uid: str | None
    action_type: int | None
    has_data_set: bool


class Reception(Protocol):
    """One request being received. Used by one thread.

    `write` any number of times, then either `finish` or `abandon`, once. None
    of them raises for what the peer sent or what the disk does: a reception
    that will be refused swallows what still comes and says so in `finish`.
    """

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set; the memory is the caller's again afterwards."""

    def finish(self) -> Answer:
        """Make it durable, or not, and return what to answer."""

    def abandon(self) -> None:
        """Leave nothing behind: the association ended, or the message broke a limit."""


class Service(Protocol):
    """Serves one kind of request on one kind of presentation context; one for all associations of a process."""

    def begin(self, request: Request) -> Reception:
        """Start receiving; never raises for what the peer sent."""


class Answering:
    """A reception whose answer stands from the beginning.

    Parameters
    ----------
    answer : Answer
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def write(self, fragment: memoryview) -> None:
        """Throw it away."""

    def finish(self) -> Answer:
        """Return the answer."""
        return self._answer

    def abandon(self) -> None:
        """Do nothing: nothing was kept."""


class EchoService:
    """C-ECHO: answers that we are here (PS3.4 Annex A)."""

    def begin(self, request: Request) -> Reception:
        """Start receiving what is no more than a command."""
        right = request.sop_class_uid == request.abstract_syntax
        return Answering((EchoStatus.ANSWERED if right else EchoStatus.WRONG_CLASS).answer)
