"""C-ECHO to another machine, and in words how far it came: what one asks before blaming a firewall."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, evt
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from core.errors import Misconfigured
from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.settings import Settings
from dicom_listener.rejections import in_words

SECONDS: Final = 5.0
_SUCCESS: Final = 0x0000
_NO_WAY: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})


class Step(StrEnum):
    """How far it came."""

    NAME = "NAME"
    CONNECTION = "CONNECTION"
    TLS = "TLS"
    ASSOCIATION = "ASSOCIATION"
    ECHO = "ECHO"
    ANSWERED = "ANSWERED"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whom to ask, and as whom.

    Attributes
    ----------
    called_ae_title, calling_ae_title : str
        The peer's AE title, and ours.
    seconds : float
        For each step: connection, handshake, association, echo.
    tls : SSLContext or None
        None means plain DICOM.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    seconds: float = SECONDS
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes
    ----------
    step : Step
        The one that failed, or ANSWERED.
    words : str
        A sentence for a person.
    milliseconds : float or None
        From the C-ECHO request to its answer.
    rejected : tuple of int or None
        Result, source and reason of the A-ASSOCIATE-RJ, if that was the answer.
    """

    step: Step
    words: str
    milliseconds: float | None = None
    rejected: tuple[int, int, int] | None = None


def client_context(settings: Settings, authorities: Path | None) -> ssl.SSLContext:
    """Return the TLS context of a client: TLS 1.2 or later (PS3.15 B.12), our certificate where we have one.

    The peer's certificate is checked against the authorities; its host name
    is not, because DICOM names peers by AE title and address.

    Parameters
    ----------
    settings : Settings
    authorities : Path or None
        PEM; None means ``LUNGWATCH_TLS_CLIENT_CA_FILE``, else those of this machine.

    Raises
    ------
    Misconfigured
        If a file cannot be used.
    """
    trusted = authorities or settings.tls_client_ca_file
    try:
        context = ssl.create_default_context(cafile=trusted)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        if settings.tls_certificate_file is not None and settings.tls_key_file is not None:
            # a password would be asked for at the terminal
            context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file, password=str)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not PEM, or not of each other"
        files = [str(file) for file in (trusted, settings.tls_certificate_file, settings.tls_key_file) if file]
        message = (
            f"certificates cannot be used ({reason}); look at {', '.join(files) or 'the authorities of this machine'}"
        )
        raise Misconfigured(message) from None
    return context


def ask(probe: Probe) -> Outcome:
    """Connect, associate, send one C-ECHO, release (PS3.4 Annex A); never raises for what the peer does."""
    return _reach(probe) or _associate(probe)


def _reach(probe: Probe) -> Outcome | None:
    """Try the connection alone, because a library that fails in it does not say why."""
    where = f"{probe.host} port {probe.port}"
    try:
        plain = socket.create_connection((probe.host, probe.port), timeout=probe.seconds)
    except (socket.gaierror, UnicodeError):
        return Outcome(Step.NAME, f"the name {probe.host} is not known here; write the address, or see to the DNS")
    except ConnectionRefusedError:
        return Outcome(Step.CONNECTION, f"{where} refused the connection: nothing listens there, or a firewall says no")
    except TimeoutError:
        return Outcome(
            Step.CONNECTION,
            f"no answer from {where} within {probe.seconds:g} s: machine off, address wrong, or a firewall is silent",
        )
    except OSError as error:
        words = "no way leads there" if error.errno in _NO_WAY else error.strerror or type(error).__name__
        return Outcome(Step.CONNECTION, f"{where} cannot be reached: {words}")
    with plain:
        return None if probe.tls is None else _handshake(plain, probe.tls, where)


def _handshake(plain: socket.socket, context: ssl.SSLContext, where: str) -> Outcome | None:
    try:
        context.wrap_socket(plain).close()
    except ssl.SSLCertVerificationError as error:
        return Outcome(
            Step.TLS,
            f"the certificate of {where} is not trusted: {error.verify_message}; --ca-file names its authority",
        )
    except TimeoutError:
        return Outcome(Step.TLS, f"{where} does not answer the TLS handshake; is it a port for plain DICOM?")
    except ssl.SSLError as error:
        return Outcome(
            Step.TLS, f"no TLS with {where}: {error.reason or 'handshake failed'}; is it a port for plain DICOM?"
        )
    except OSError:
        return Outcome(Step.TLS, f"{where} closed the connection in the TLS handshake; is it a port for plain DICOM?")
    return None


def _associate(probe: Probe) -> Outcome:
    # what is wrong is said below, once
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    entity = AE(ae_title=probe.calling_ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = probe.seconds
    entity.add_requested_context(Verification)
    heard: list[type] = []
    opened: list[socket.socket] = []
    asked = time.monotonic()
    association = entity.associate(
        probe.host,
        probe.port,
        ae_title=probe.called_ae_title,
        evt_handlers=[
            (evt.EVT_PDU_RECV, lambda event: heard.append(type(event.pdu))),
            (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket)),
        ],
        tls_args=None if probe.tls is None else (probe.tls, probe.host),
    )
    if not association.is_established:
        seconds = time.monotonic() - asked
        # pynetdicom leaves a socket that its peer closed first to the garbage collector
        for connection in opened:
            connection.close()
        return _not_associated(probe, association, heard, seconds)
    began = time.monotonic()
    try:
        status = association.send_c_echo()
        milliseconds = (time.monotonic() - began) * 1000
    finally:
        association.release()
    if "Status" not in status:
        return Outcome(Step.ECHO, f"accepted the association, but did not answer C-ECHO within {probe.seconds:g} s")
    if status.Status != _SUCCESS:
        return Outcome(Step.ECHO, f"answered C-ECHO with status 0x{status.Status:04X}", milliseconds)
    return Outcome(Step.ANSWERED, f"answered C-ECHO in {milliseconds:.0f} ms", milliseconds)


def _not_associated(probe: Probe, association: Any, heard: list[type], seconds: float) -> Outcome:
    if association.is_rejected:
        said = association.acceptor.primitive
        numbers = (said.result, said.result_source, said.diagnostic)
        words = f"rejected the association, {in_words(*numbers)}{_advice(probe, numbers)}"
        return Outcome(Step.ASSOCIATION, words, rejected=numbers)
    if A_ASSOCIATE_AC in heard:
        return Outcome(Step.ASSOCIATION, "accepted the association, but not the Verification service")
    if A_ABORT_RQ in heard:
        return Outcome(Step.ASSOCIATION, "aborted the association before answering it")
    if seconds >= probe.seconds:
        words = f"took the connection, but did not answer the association request within {probe.seconds:g} s"
    else:
        words = "closed the connection, or did not answer the association request as a DICOM peer does"
    if probe.tls is not None:
        words += "; does it demand a client certificate (LUNGWATCH_TLS_CERTIFICATE_FILE, LUNGWATCH_TLS_KEY_FILE)?"
    return Outcome(Step.ASSOCIATION, words)


def _advice(probe: Probe, numbers: tuple[int, int, int]) -> str:
    match numbers:
        case (_, 1, 3):
            return f"; register {probe.calling_ae_title} and this machine's address there"
        case (_, 1, 7):
            return f"; it is not called {probe.called_ae_title}"
        case (_, 3, _):
            return "; it is busy, try again"
        case _:
            return ""
