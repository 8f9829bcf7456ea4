"""Fills the marked sections of docs/conformance.md from the tables that the code itself goes by.

``make conformance`` runs it; a unit test says when it has to be run. What is
between the marks is never edited by hand, what is outside them never touched.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydicom._uid_dict import UID_dictionary

from core.commitment_request import COMMITTED, FAILURES_EXIST, LARGEST, MOST_REFERENCES, WELL_KNOWN_INSTANCE
from core.errors import ExitCode, Misconfigured
from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.settings import Settings
from core.sop_classes import is_storage
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_listener.association.commands import MOST_ELEMENTS
from dicom_listener.association.door import MOST_WAITING
from dicom_listener.association.messages import LONGEST_COMMAND
from dicom_listener.contexts import Offer
from dicom_listener.rejections import REASONS, RESULTS, SOURCES, Rejection
from dicom_listener.status import TABLES, Status
from dicom_listener.upper_layer.provider import FREE_VALUES, LEAST_AVERAGE, LONGEST_REQUEST, MOST_CONTEXTS, MOST_ITEMS
from dicom_listener.upper_layer.tls_files import CIPHERS, bare_context
from worker.commitment.vouching import FailureReason

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
_SECTION: Final = re.compile(r"(<!-- from the code: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def identity() -> str:
    """How we name ourselves on every association."""
    return table(
        ("item", "value"),
        [
            ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
            ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
            ("AE title", f"`{Settings.model_fields['ae_title'].default}` (`LUNGWATCH_AE_TITLE`)"),
        ],
    )


def contexts() -> str:
    """Return the presentation contexts we accept."""
    rows = []
    for offer in Offer:
        terms = offer.value
        uid = "every storage SOP class (below)" if terms.abstract_syntax is None else f"`{terms.abstract_syntax}`"
        syntaxes = (
            "all of the next table"
            if terms.transfer_syntaxes == SUPPORTED_TRANSFER_SYNTAXES
            else ", ".join(_name(syntax) for syntax in terms.transfer_syntaxes)
        )
        rows.append((terms.name, uid, syntaxes, "SCP", terms.operations, terms.source))
    return table(("service", "abstract syntax", "transfer syntaxes", "our role", "operations", "defined in"), rows)


def transfer_syntaxes() -> str:
    """Return the transfer syntaxes in the order we choose by."""
    return table(
        ("choice", "transfer syntax", "UID"),
        [(number, _name(syntax), f"`{syntax}`") for number, syntax in enumerate(SUPPORTED_TRANSFER_SYNTAXES, start=1)],
    )


def storage_classes() -> str:
    """Return the storage SOP classes of PS3.6 that we know by name."""
    known = sorted(
        (name, uid, "retired" if retired else "")
        for uid, (name, _, _, retired, _) in UID_dictionary.items()
        if is_storage(uid)
    )
    return table(("SOP class", "UID", ""), [(name, f"`{uid}`", retired) for name, uid, retired in known])


def limits() -> str:
    """Return the limits on associations and messages that are settings."""
    return _settings(
        "maximum_associations",
        "maximum_associations_per_peer",
        "reserved_associations",
        "maximum_pdu_size",
        "maximum_message_size",
    ) + (
        f"\nFixed: an A-ASSOCIATE-RQ of at most {_bytes(LONGEST_REQUEST)}, {MOST_CONTEXTS} presentation contexts and "
        f"{MOST_ITEMS} items in all; a command set of at most {_bytes(LONGEST_COMMAND)} and {MOST_ELEMENTS} elements; "
        f"{FREE_VALUES} presentation data values an association that are not the last of their kind, and one more for "
        f"each {_bytes(LEAST_AVERAGE)}; "
        f"{MOST_WAITING} connections a process that have not asked for an association yet.\n"
    )


def timeouts() -> str:
    """Return the deadlines that are settings."""
    return _settings("request_timeout", "pdu_timeout", "message_timeout", "network_timeout", "drain_timeout")


def configuration() -> str:
    """Return what else an administrator may set."""
    return _settings(
        "ae_title",
        "listen_host",
        "listen_plain",
        "listen_port",
        "tls_port",
        "check_called_ae_title",
        "peers_file",
        "free_space_fraction",
        "free_space_bytes",
    )


def rejections() -> str:
    """Return why associations are rejected."""
    rows = []
    for rejection in Rejection:
        result, source, reason = rejection.numbers
        words = (
            f"{result} {RESULTS[result]}",
            f"{source} {SOURCES[source]}",
            f"{reason} {REASONS[source, reason]}",
        )
        rows.append((*words, rejection.value.when, f"`{rejection.name.lower()}`"))
    return table(("result", "source", "reason", "when", "in logs and metrics"), rows)


def statuses(service: str) -> Callable[[], str]:
    """Return the statuses of one service, as it is called in `dicom_listener.status`."""

    def render() -> str:
        status: type[Status] = TABLES[service]
        rows = [
            (f"`0x{member.code:04X}`", member.comment or "-", f"`{member.name}`", member.answer.source)
            for member in status
        ]
        return table(("status", "Error Comment (0000,0902)", "name", "defined in"), rows)

    return render


def commitment() -> str:
    """Return the limits of storage commitment."""
    fixed = (
        f"\nFixed: {MOST_REFERENCES} references and {_bytes(LARGEST)} a request; the well-known SOP Instance UID is "
        f"`{WELL_KNOWN_INSTANCE}`; event type {COMMITTED} says that all is committed, {FAILURES_EXIST} that failures "
        "exist.\n"
    )
    return _settings("commitment_seconds", "commitment_attempts") + fixed


def failure_reasons() -> str:
    """Return why an instance is reported as failed."""
    return table(
        ("Failure Reason (0008,1197)", "name", "means"),
        [(f"`0x{reason:04X}`", f"`{reason.name}`", reason.meaning) for reason in FailureReason],
    )


def tls() -> str:
    """Return what TLS is negotiated."""
    least = bare_context().minimum_version.name.replace("TLSv", "TLS ").replace("_", ".")
    return (
        table(
            ("what", "value"),
            [
                ("Versions", f"{least} or later; the latest both sides have"),
                ("TLS 1.3 cipher suites", "all of RFC 8446 that OpenSSL enables"),
                ("TLS 1.2 cipher suites", f"`{CIPHERS}` in OpenSSL's words: ECDHE with AES-GCM or ChaCha20-Poly1305"),
                ("Renegotiation, compression, session tickets", "none"),
            ],
        )
        + "\n"
        + _settings("tls_port", "tls_certificate_file", "tls_key_file", "tls_client_ca_file")
    )


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "identity": identity,
    "contexts": contexts,
    "transfer-syntaxes": transfer_syntaxes,
    "limits": limits,
    "timeouts": timeouts,
    "rejections": rejections,
    "store-statuses": statuses("C-STORE"),
    "echo-statuses": statuses("C-ECHO"),
    "action-statuses": statuses("N-ACTION"),
    "other-statuses": statuses("any other"),
    "commitment": commitment,
    "failure-reasons": failure_reasons,
    "configuration": configuration,
    "tls": tls,
    "storage-classes": storage_classes,
}


def fill(document: str) -> str:
    """Return the document with every marked section made anew.

    Raises
    ------
    Misconfigured
        If a section is marked that there is none for, or one is not marked exactly once.
    """
    marked = [found[2] for found in _SECTION.finditer(document)]
    if sorted(marked) != sorted(SECTIONS):
        wrong = sorted(set(marked) ^ set(SECTIONS)) or sorted({name for name in marked if marked.count(name) > 1})
        message = f"docs/conformance.md: sections that are not marked exactly once, or unknown: {', '.join(wrong)}"
        raise Misconfigured(message)
    return _SECTION.sub(lambda found: f"{found[1]}\n{SECTIONS[found[2]]()}\n{found[3]}", document)


def _settings(*names: str) -> str:
    rows = []
    for name in names:
        field = Settings.model_fields[name]
        rows.append((field.description, _default(name, field.default), f"`LUNGWATCH_{name.upper()}`"))
    return table(("what", "default", "setting"), rows)


def _default(name: str, value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if name.endswith(("_timeout", "_seconds")):
        return f"{value:g} s"
    if name.endswith(("_size", "_bytes")):
        return _bytes(value)
    return f"{value:.0%}" if name.endswith("_fraction") else str(value)


def _bytes(count: int) -> str:
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def _name(uid: str) -> str:
    # ": Default Transfer Syntax for ..." and "(Process 14 [Selection Value 1])" are no part of what people call it
    return re.sub(r"( ?\(Process|:).*", "", UID_dictionary[uid][0]) if uid in UID_dictionary else uid


def main(
    *, check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 if it would.")] = False
) -> None:
    """Bring docs/conformance.md up to date with the code."""
    present = DOCUMENT.read_text(encoding="utf-8")
    filled = fill(present)
    if filled == present:
        return
    if check:
        typer.echo("".join(difflib.unified_diff(present.splitlines(keepends=True), filled.splitlines(keepends=True))))
        raise typer.Exit(ExitCode.FINDING)
    DOCUMENT.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
