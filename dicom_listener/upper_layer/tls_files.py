"""Certificate, key and authorities on disk, and the TLS context made from them.

The context follows the BCP 195 profile of PS3.15 B.12, that is RFC 8996 and
RFC 9325. Kept apart from `dicom_listener.upper_layer.tls` because `cryptography`, which
reads dates here, costs 12 MB that a listener without TLS need not spend.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from core.errors import Misconfigured

# RFC 9325 4.2 and, for peers without AES in hardware, ChaCha20: forward secrecy and authenticated encryption alone.
# TLS_DHE_* is left out, for RFC 9325 4.1 says SHOULD NOT; whoever follows an older BCP 195 profile has ECDHE too.
# TLS 1.3 has only such suites. SECLEVEL 2 is 112 bits: RSA from 2048 on, no SHA-1 (RFC 9325 4.4, 4.5).
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_LARGEST_FILE: Final = 4 << 20

Stamp = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A context that serves, and until when peers will believe its certificate.

    Attributes
    ----------
    context : ssl.SSLContext
    expires : datetime
        In UTC; the earliest date of our certificate and the chain beside it.
    """

    context: ssl.SSLContext
    expires: datetime


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificate, key and authorities lie.

    Attributes
    ----------
    certificate, key : Path
        PEM; the certificate first, then the chain above it.
    client_ca : Path or None
        PEM; set, every client must show a certificate that one of these vouches for, or that is itself among them.
    """

    certificate: Path
    key: Path
    client_ca: Path | None

    def stamp(self) -> Stamp:
        """Return what changes when one of the files does: by content, by replacement or by permission."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.client_ca) if path is not None)

    def load(self) -> Loaded:
        """Read and check them.

        Returns
        -------
        Loaded
            An expired certificate is loaded too: peers judge it, and those that do not look still get through.

        Raises
        ------
        Misconfigured
            Naming setting, file and what is wrong with it; never what is in it.
        """
        chain = _read("LUNGWATCH_TLS_CERTIFICATE_FILE", self.certificate)
        _read("LUNGWATCH_TLS_KEY_FILE", self.key)
        try:
            expires = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(chain))
        except ValueError:
            raise _wrong("LUNGWATCH_TLS_CERTIFICATE_FILE", self.certificate, "holds no certificate in PEM") from None
        context = bare_context()
        self._take_own(context)
        if self.client_ca is not None:
            _take_authorities(context, self.client_ca)
        return Loaded(context, expires)

    def _take_own(self, context: ssl.SSLContext) -> None:
        password = _NoPassword()
        setting, path = "LUNGWATCH_TLS_KEY_FILE", self.key
        try:
            context.load_cert_chain(self.certificate, self.key, password)
        except OSError as error:
            reason = (error.reason or "") if isinstance(error, ssl.SSLError) else None
            if password.asked:
                why = "is encrypted; a listener that starts by itself needs it without a password"
            elif reason is None:
                # gone since it was read
                why = _why(error)
            elif reason.endswith("MISMATCH"):
                why = f"does not belong to the certificate in {self.certificate}"
            elif reason.startswith(("EE_", "CA_")):
                # OpenSSL's words for what is below the security level
                setting, path = "LUNGWATCH_TLS_CERTIFICATE_FILE", self.certificate
                why = f"is too weak ({reason}): RSA keys need 2048 bits, signatures SHA-256"
            else:
                why = f"holds no private key in PEM that goes with {self.certificate}"
            raise _wrong(setting, path, why) from None


def bare_context() -> ssl.SSLContext:
    """Make the server's side of the profile, without any certificate yet.

    Sessions are not resumed. Associations are long and few, so a full
    handshake costs nothing, and no ticket outlives the certificate that was
    checked for it or a key that RFC 9325 3.4 wants changed often.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # said aloud, for the system's OpenSSL configuration may lower it
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(CIPHERS)
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.num_tickets = 0
    return context


class _NoPassword:
    """Answers OpenSSL, which would otherwise ask at the terminal, and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> str:
        self.asked = True
        return ""


def _take_authorities(context: ssl.SSLContext, path: Path) -> None:
    setting = "LUNGWATCH_TLS_CLIENT_CA_FILE"
    _read(setting, path)
    try:
        context.load_verify_locations(path)
    except OSError as error:
        why = "holds no certificate in PEM" if isinstance(error, ssl.SSLError) else _why(error)
        raise _wrong(setting, path, why) from None
    if not context.cert_store_stats()["x509"]:
        raise _wrong(setting, path, "holds no certificate in PEM")
    # what stands in the file is trusted as it stands: also an issuing authority without its root, or one device's own
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_REQUIRED


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # the change time moves with content, name and permission; the others catch what its clock is too coarse for
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino


def _read(setting: str, path: Path) -> bytes:
    try:
        # not to wait for the other end of a pipe
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _wrong(setting, path, "is no regular file")
            content = stream.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise _wrong(setting, path, _why(error)) from None
    if len(content) > _LARGEST_FILE:
        raise _wrong(setting, path, "is too large to hold certificates")
    return content


def _why(error: OSError) -> str:
    return f"cannot be read ({os.strerror(error.errno) if error.errno else type(error).__name__})"


def _wrong(setting: str, path: Path, why: str) -> Misconfigured:
    return Misconfigured(f"{setting}: {path} {why}")
