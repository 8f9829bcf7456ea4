"""What may stand in the peers file, and what is said of what may not.

The file is TOML, written by people and by ``lungwatch peers``. Nothing in it is
guessed at: a key that is misspelt and therefore without effect would open or
close the door for somebody nobody meant.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from core.ae_titles import checked_ae_title
from core.errors import Misconfigured
from core.sop_classes import storage_class

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LARGEST: Final = 1 << 20
_MOST_PROBLEMS: Final = 8
_MOST_QUOTED: Final = 60
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_LARGEST_PORT: Final = 65535
# PS3.15 binds nothing to a certificate; this is what `openssl x509 -fingerprint -sha256` prints, less its colons
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# RFC 1123 2.1, and the underscore that hospital networks have
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.IGNORECASE
)
_REPORT_TO: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


def network(written: object) -> Network:
    """Return the network that an address or a network in CIDR form names.

    An IPv4 address written as IPv6 (RFC 4291 2.5.5.2) is its IPv4 address.

    Raises
    ------
    ValueError
        Saying what is wrong and what to write.
    """
    if not isinstance(written, str):
        message = 'is no text; write for instance "10.1.2.3" or "10.1.3.0/24"'
        raise ValueError(message)  # noqa: TRY004 - pydantic collects these
    try:
        given = ipaddress.ip_interface(written)
    except ValueError:
        message = (
            "is neither an IP address nor a network such as 10.1.3.0/24 or 2001:db8::/64; host names are not taken"
        )
        raise ValueError(message) from None
    if getattr(given, "scope_id", None):
        message = "has a zone (%); write it without, the zone is another on each machine"
        raise ValueError(message)
    if given.ip != given.network.network_address:
        message = (
            f"has bits set below its prefix; write {given.network} for the network or {given.ip} for the one address"
        )
        raise ValueError(message)
    return unmapped(given.network)


def unmapped(given: Network) -> Network:
    """Return the IPv4 network that an IPv4-mapped one means; any other as it is."""
    if isinstance(given, ipaddress.IPv6Network) and given.subnet_of(_MAPPED):
        mapped = given.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, given.prefixlen - _MAPPED.prefixlen))
    return given


def report_address(written: object) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``.

    Raises
    ------
    ValueError
        Saying what is wrong and what to write.
    """
    parts = _REPORT_TO.fullmatch(written) if isinstance(written, str) else None
    if parts is None:
        message = 'is no host and port; write for instance "10.1.2.3:104", "pacs.example:104" or "[2001:db8::3]:104"'
        raise ValueError(message)
    port = int(parts["port"])
    if not 1 <= port <= _LARGEST_PORT:
        message = f"has port {port}; ports are 1 to {_LARGEST_PORT}"
        raise ValueError(message)
    return _checked_host(parts["v6"], parts["host"]), port


def _checked_host(v6: str | None, host: str | None) -> str:
    try:
        if v6 is not None:
            return str(ipaddress.IPv6Address(v6))
        # digits and dots are meant as an address, and no host name ends in a number (RFC 1123 2.1)
        if host is not None and host.rpartition(".")[2].isdigit():
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        message = "has no valid IP address before its port"
        raise ValueError(message) from None
    if host is None or not _HOST_NAME.fullmatch(host):
        message = "has no valid host name before its port"
        raise ValueError(message)
    return host


def certificate_digest(written: str) -> str:
    """Return a SHA-256 as 64 lower-case hexadecimal digits; colons between them are left out.

    Raises
    ------
    ValueError
        If it is none.
    """
    digest = written.replace(":", "").lower()
    if not _SHA256.fullmatch(digest):
        message = (
            "is no SHA-256 of a certificate: 64 hexadecimal digits, colons allowed "
            "(openssl x509 -noout -fingerprint -sha256 -in cert.pem)"
        )
        raise ValueError(message)
    return digest


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Entry(_Strict):
    """One ``[[peer]]``."""

    ae_title: Annotated[str, AfterValidator(checked_ae_title)]
    addresses: list[Annotated[Network, PlainValidator(network)]] = Field(min_length=1)
    sop_classes: list[Annotated[str, AfterValidator(storage_class)]] | None = Field(None, min_length=1)
    report_to: Annotated[tuple[str, int] | None, PlainValidator(report_address)] = None
    certificate: Annotated[str, AfterValidator(certificate_digest)] | None = None


class Content(_Strict):
    """The whole file."""

    unknown: Literal["refuse", "accept"] = "refuse"
    peer: list[Entry] = []


_KEYS: Final = {(): tuple(Content.model_fields), ("peer",): tuple(Entry.model_fields)}


def parse(content: bytes, path: Path) -> Content:
    """Read the content of a peers file.

    Parameters
    ----------
    content : bytes
        UTF-8.
    path : Path
        Where it came from; for messages only.

    Returns
    -------
    Content

    Raises
    ------
    Misconfigured
        Naming the file, the entry, the key, what is wrong and what to do.
    """
    if len(content) > LARGEST:
        message = f"{path} is larger than {LARGEST >> 20} MiB; is it the peers file?"
        raise Misconfigured(message)
    try:
        raw = tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        message = f"{path} is not valid TOML: {error}; docs/runbook.md (Who may send) shows how it looks"
        raise Misconfigured(message) from None
    except (UnicodeDecodeError, RecursionError):
        message = f"{path} is not UTF-8 text in TOML; docs/runbook.md (Who may send) shows how it looks"
        raise Misconfigured(message) from None
    try:
        read = Content.model_validate(raw)
    except ValidationError as error:
        problems = [_described(problem, raw) for problem in error.errors(include_url=False)]
    else:
        problems = _duplicates(read)
        if not problems:
            return read
    shown = problems[:_MOST_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    message = f"{path} cannot be used: " + "; ".join(shown)
    raise Misconfigured(message)


def _duplicates(content: Content) -> list[str]:
    first: dict[tuple[str, Network], int] = {}
    problems = []
    for number, entry in enumerate(content.peer, start=1):
        for given in entry.addresses:
            if (entry.ae_title, given) in first:
                before = first[entry.ae_title, given]
                where = f"peer {number} ({entry.ae_title}): addresses"
                problems.append(f"{where}: {given} is in peer {before} with the same AE title already; leave it in one")
            first[entry.ae_title, given] = number
    return problems


def _described(problem: ErrorDetails, raw: dict[str, Any]) -> str:
    """Say where in the file a problem is, what it is, and what to do."""
    places, key, value = _place(problem["loc"], raw)
    match problem["type"]:
        case "extra_forbidden":
            known = _KEYS[("peer",) if places else ()]
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            what = f"{_quoted(key)} is no key; {hint}"
        case "missing":
            what = f"{key} is missing"
        case "too_short":
            hint = ", or leave the key out to allow every storage class" if key == "sop_classes" else ""
            what = f"{key} is empty; name at least one{hint}"
        case "list_type" if key == "peer":
            what = "peer is no list of tables; begin each peer with [[peer]], two brackets on each side"
        case "list_type":
            what = f"{key} is no list; write {key} = [...] with brackets"
        case "model_type":
            what = "is no table; begin each peer with [[peer]]"
        case "literal_error":
            what = f'{key} is {_quoted(value)}; write "refuse" or "accept"'
        case "value_error":
            what = f"{key}: {_quoted(value)} {problem['ctx']['error']}"
        case _:
            what = f"{key} is {_quoted(value)}; {problem['msg']}"
    return f"{places}: {what}" if places else what


def _place(loc: tuple[int | str, ...], raw: dict[str, Any]) -> tuple[str, str, object]:
    """Return which entry, which key, and what stands there."""
    value: Any = raw
    for step in loc:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
    if len(loc) < 2 or loc[0] != "peer" or not isinstance(loc[1], int):  # noqa: PLR2004 - the entry's number
        return "", str(loc[0]) if loc else "the file", value
    title = raw["peer"][loc[1]].get("ae_title") if isinstance(raw["peer"][loc[1]], dict) else None
    named = f" ({_plain(title)})" if isinstance(title, str) else ""
    key = str(loc[2]) if len(loc) > 2 else ""  # noqa: PLR2004 - the key follows
    return f"peer {loc[1] + 1}{named}", key, value


def _plain(text: str) -> str:
    """Return text of the file for a log line or a terminal: no line break, no escape, not endless."""
    safe = ascii(text)[1:-1]
    return safe if len(safe) <= _MOST_QUOTED else f"{safe[:_MOST_QUOTED]}..."


def _quoted(value: object) -> str:
    return f'"{_plain(value)}"' if isinstance(value, str) else _plain(str(value))
