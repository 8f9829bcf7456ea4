"""C-ECHO to the listener of this machine: the question a PACS administrator asks first."""

from __future__ import annotations

import ssl
from typing import Final

from cli.probe import Probe, Step, ask
from core.settings import Settings
from dicom_listener import announcement
from dicom_listener.rejections import Rejection

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound


def echo(settings: Settings) -> str | None:
    """Ask the listener for a sign of life (PS3.4 A, Verification Service Class).

    A listener that does not take us for a peer is alive, too: we need not
    stand in the peers file, nor have a client certificate it trusts.

    Returns
    -------
    str or None
        What is wrong, or None if it answered.
    """
    # one that runs knows better than the settings of whoever asks
    said = announcement.read(settings)
    plain, secure = (
        (said.port, said.tls_port)
        if said is not None
        else (settings.listen_port if settings.listen_plain else None, settings.tls_port)
    )
    port, context = (plain, None) if plain is not None else (secure, _for_ourselves())
    bound = said.host if said is not None else settings.listen_host
    host = "127.0.0.1" if bound in _EVERYWHERE else bound
    outcome = ask(Probe(host, port or 0, settings.ae_title, settings.ae_title, tls=context))
    if outcome.step is Step.ANSWERED or outcome.rejected == Rejection.CALLING_AE_TITLE.numbers:
        return None
    where = f"{host} port {port}"
    match outcome.step:
        case Step.NAME | Step.CONNECTION:
            return f"nothing listens at {where}"
        case Step.ASSOCIATION | Step.ECHO if context is not None and settings.tls_client_ca_file is not None:
            # it shook hands and asked for a certificate; more could only say who has one
            return None
        case _:
            return f"the listener at {where}: {outcome.words}"


def _for_ourselves() -> ssl.SSLContext:
    # the port of our own listener on this machine: there is nothing to be told apart
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
