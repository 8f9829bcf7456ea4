"""A certificate authority of the test's own, and what it vouches for."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key as PEM files, ``NAME.crt`` and ``NAME.key``."""

    certificate: Path
    key: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the first certificate in the file (DER), as `openssl x509 -fingerprint -sha256` gives it."""
        der = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(Encoding.DER)
        return hashlib.sha256(der).hexdigest()

    def replace(self, by: Certificate) -> None:
        """Put another one in its place, each file at once, as a careful renewal does."""
        for here, there in ((self.certificate, by.certificate), (self.key, by.key)):
            temporary = here.with_suffix(".new")
            temporary.write_bytes(there.read_bytes())
            temporary.rename(here)


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "authority", issuer: Authority | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.private = ec.generate_private_key(ec.SECP256R1())
        above = issuer or self
        builder = _builder(self.name, above.name, self.private, datetime.now(UTC) - DAY, datetime.now(UTC) + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._certificate = builder.sign(above.private, hashes.SHA256())
        self.certificate = folder / f"{name}.crt"
        self.certificate.write_bytes(self.pem)

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str,
        *,
        key: Key | None = None,
        starts: timedelta = -DAY,
        ends: timedelta = 29 * DAY,
        usage: x509.ObjectIdentifier | None = None,
        password: bytes | None = None,
        chain: bool = False,
    ) -> Certificate:
        """Issue a certificate for localhost and 127.0.0.1, good for a server and a client.

        `usage` narrows that to one of the two, `chain` puts the authority's own certificate below it.
        """
        now = datetime.now(UTC)
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self.name, key, now + starts, now + ends)
        places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usages = [usage] if usage else [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self.private, hashes.SHA256())
        pem = certificate.public_bytes(Encoding.PEM) + (self.pem if chain else b"")
        protection: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        issued = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        issued.certificate.write_bytes(pem)
        issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
        issued.key.chmod(0o600)
        return issued

    def client_context(self, own: Certificate | None = None) -> ssl.SSLContext:
        """A client that believes this authority alone, showing `own` if it is asked."""
        context = ssl.create_default_context(cafile=os.fspath(self.certificate))
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
    )
