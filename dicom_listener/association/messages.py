"""DIMSE messages, put together from presentation data values one at a time (PS3.7 6.3, PS3.8 Annex E).

A command set is small and kept; a data set goes to its service in the pieces
in which it comes and is kept nowhere here. Until a message is answered nothing
of the next is taken: we never negotiate an asynchronous operations window
(PS3.7 D.3.3.3), so a peer that sends ahead breaks the protocol.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dicom_listener.association.commands import BadCommand, Command, decode
from dicom_listener.services import Reception
from dicom_listener.upper_layer.provider import BadPdu, Piece

# the largest that any service needs takes some 300 bytes
LONGEST_COMMAND: Final = 16 * 1024


@dataclass(slots=True)
class Message:
    """A request on its way in, or complete.

    Attributes
    ----------
    context_id : int
    command : Command
    reception : Reception
        Of the service; takes the data set.
    began : float
        When its first piece came, by `time.monotonic`.
    size : int
        Bytes of data set so far.
    """

    context_id: int
    command: Command
    reception: Reception
    began: float
    size: int = 0


class Messages:
    """Assembles the messages of one association.

    Parameters
    ----------
    begin : callable
        Called with context ID, command and when its first piece came, once a
        command set is complete. Raises `BadPdu` where the association is not to go on.
    maximum_size : int
        Bytes a data set may have.
    """

    def __init__(self, begin: Callable[[int, Command, float], Reception], maximum_size: int) -> None:
        self._begin = begin
        self._maximum_size = maximum_size
        self._encoded = bytearray()
        self._context_id = 0
        self._began: float | None = None
        self._message: Message | None = None
        self.is_complete = False

    @property
    def began(self) -> float | None:
        """Return when the message in flight began, by `time.monotonic`; None where there is none."""
        return self._began

    def receive(self, piece: Piece) -> None:
        """Add a piece.

        Raises
        ------
        BadPdu
            If it does not belong there or exceeds a limit.
        """
        if self.is_complete:
            raise BadPdu("message_pipelined")
        began = self._began
        if began is None:
            began = self._began = time.monotonic()
            self._context_id = piece.context_id
        if piece.context_id != self._context_id:
            raise BadPdu("message_changes_context")
        if piece.is_command:
            self._receive_command(piece, began)
        else:
            self._receive_data(piece)

    def take(self) -> Message | None:
        """Return the message if it is complete, once."""
        if not self.is_complete:
            return None
        message = self._message
        self._forget()
        return message

    def abandon(self) -> None:
        """Drop what has come of a message."""
        if self._message is not None:
            self._message.reception.abandon()
        self._forget()

    def _receive_command(self, piece: Piece, began: float) -> None:
        if self._message is not None:
            raise BadPdu("command_within_data_set")
        self._encoded += piece.content
        if len(self._encoded) > LONGEST_COMMAND:
            raise BadPdu("command_too_long", limit=LONGEST_COMMAND)
        if not piece.is_last:
            return
        try:
            command = decode(bytes(self._encoded))
        except BadCommand:
            raise BadPdu("command_malformed") from None
        self._encoded.clear()
        reception = self._begin(piece.context_id, command, began)
        self._message = Message(piece.context_id, command, reception, began)
        self.is_complete = not command.has_data_set

    def _receive_data(self, piece: Piece) -> None:
        message = self._message
        if message is None:
            raise BadPdu("data_set_without_command")
        message.size += len(piece.content)
        if message.size > self._maximum_size:
            # what has come so far is worthless, what would come is unbounded
            raise BadPdu("message_too_long", limit=self._maximum_size)
        message.reception.write(piece.content)
        self.is_complete = piece.is_last

    def _forget(self) -> None:
        self._encoded.clear()
        self._message, self._began, self.is_complete = None, None, False
