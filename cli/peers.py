"""`lungwatch peers`: who may send, and whether they can be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cli.ledger import quiet
from cli.output import console, notes, plain, print_json, printable, say, table
from cli.peers_editing import Changed, NewPeer, NoSuchPeer, adding, change, removing, treating_unknown
from core.ae_titles import checked_ae_title
from core.errors import ExitCode, Misconfigured
from core.peers import EVERYBODY, Peer, Peers, Unknown, read
from core.peers_format import certificate_digest, network, report_address
from core.settings import Settings, load
from core.sop_classes import keyword, storage_class

app = typer.Typer(
    help="Say who may send: AE titles, each bound to addresses.\n\n"
    "The peers file is peers.toml in the data directory, or LUNGWATCH_PEERS_FILE. Without one everybody may send. "
    "A change is in force for the next association, without a restart.",
    no_args_is_help=True,
)

_WARNING: Final = "bold yellow"
_DIGITS_SHOWN: Final = 16
# what test tools call a peer whose title they do not know
_ANY_SCP: Final = "ANY-SCP"

Checked = TypeVar("Checked")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Title = Annotated[
    str, typer.Argument(metavar="AE", help="AE title of the peer, as it calls itself.", show_default=False)
]


@app.command("list")
def list_peers(*, as_json: AsJson = False) -> None:
    """List who may send, and check the file: exit code 2 and a message that names the entry if it is wrong."""
    settings = _settings()
    peers = _read(settings)
    if as_json:
        print_json(
            {
                "file": settings.peers.absolute(),
                "exists": peers is not None,
                # without a file that was named nobody is taken or refused: the listener does not start
                "unknown": None if peers is None and settings.peers_file is not None else (peers or EVERYBODY).unknown,
                "peers": [_in_json(peer) for peer in (peers or EVERYBODY).peers],
            }
        )
        return
    if peers is not None and peers.peers:
        rows = [
            (
                peer.ae_title,
                _addresses(peer),
                "all" if peer.sop_classes is None else sorted(keyword(uid) for uid in peer.sop_classes),
                _report_to(peer),
                peer.certificate and f"{peer.certificate[:_DIGITS_SHOWN]}...",
            )
            for peer in peers.peers
        ]
        console().print(table(("AE title", "Addresses", "SOP classes", "Reports go to", "Certificate"), rows))
    _say_the_rest(peers, settings)


@app.command()
def add(  # noqa: PLR0917 - Typer's way
    ae: Title,
    address: Annotated[
        list[str],
        typer.Option(
            "--address",
            help="Where it connects from: an address (10.1.2.3) or a network (10.1.3.0/24, 2001:db8::/64). "
            "May be given several times.",
            show_default=False,
        ),
    ],
    sop_class: Annotated[
        list[str] | None,
        typer.Option(
            "--sop-class",
            help="A storage SOP class it may send, as keyword (DigitalXRayImageStorageForPresentation) or UID. "
            "May be given several times; without it all are allowed.",
            show_default=False,
        ),
    ] = None,
    report_to: Annotated[
        str | None,
        typer.Option(
            "--report-to",
            metavar="HOST:PORT",
            help="Where it listens for the reports of storage commitment; an IPv6 address in brackets.",
        ),
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option(
            "--certificate",
            metavar="SHA256",
            help="SHA-256 of the client certificate it must show over TLS; it may then not send without TLS.",
        ),
    ] = None,
    certificate_file: Annotated[
        Path | None,
        typer.Option(
            "--certificate-file", exists=True, dir_okay=False, help="The same, taken from its certificate (PEM)."
        ),
    ] = None,
) -> None:
    """Let a peer send. Several entries may have the same AE title, for instance with different SOP classes.

    The first one on a fresh installation closes the door to all others.
    """
    if certificate is not None and certificate_file is not None:
        message = "say either --certificate or --certificate-file"
        raise typer.BadParameter(message)
    new = NewPeer(
        ae_title=_checked(checked_ae_title, ae, "AE"),
        addresses=tuple(_as_written(network, given, "--address") for given in address),
        sop_classes=tuple(_as_written(storage_class, given, "--sop-class") for given in sop_class or ()),
        report_to=None if report_to is None else _as_written(report_address, report_to, "--report-to"),
        certificate=_digest(certificate, certificate_file),
    )
    settings = _settings()
    changed = change(settings, adding(new))
    say(notes(), f"{new.ae_title} may send from {', '.join(new.addresses)}.")
    if new.certificate is not None and settings.tls_client_ca_file is None:
        say(
            notes(),
            "WARNING: LUNGWATCH_TLS_CLIENT_CA_FILE is not set here, so no client is asked for a certificate, "
            f"and {new.ae_title} is refused until it is.",
            _WARNING,
        )
    _warn(changed, settings)


@app.command()
def remove(
    ae: Title,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address", help="Only this address or network of it; may be given several times.", show_default=False
        ),
    ] = None,
) -> None:
    """Take a peer out of the file, or only some of its addresses. Associations it holds end as they would have."""
    title = _checked(checked_ae_title, ae, "AE")
    networks = [_checked(network, given, "--address") for given in address or ()]
    settings = _settings()
    if not settings.peers.exists():
        raise NoSuchPeer(_no_file(settings))
    changed = change(settings, removing(title, networks))
    where = f" at {', '.join(address)}" if address else ""
    say(notes(), f"{title} is no longer named{where}.")
    _warn(changed, settings)


@app.command()
def unknown(
    what: Annotated[Unknown, typer.Argument(help="refuse: only peers in the file may send; accept: others may, too.")],
) -> None:
    """Say what becomes of peers that the file does not name.

    Where they are accepted they never hold the places kept for those named (LUNGWATCH_RESERVED_ASSOCIATIONS),
    and none may use the AE title of a named one.
    """
    settings = _settings()
    changed = change(settings, treating_unknown(what))
    if what is Unknown.ACCEPT:
        say(notes(), "Peers that are not named may send, too.")
    else:
        say(notes(), "Peers that are not named are refused.")
    _warn(changed, settings)


@app.command("test")
def send_echo(
    peer: Annotated[
        str,
        typer.Argument(
            metavar="AE|HOST:PORT",
            help="AE title of a peer in the file, asked where its reports go; or any HOST:PORT ([v6]:PORT).",
            show_default=False,
        ),
    ],
    *,
    calling_ae: Annotated[
        str | None, typer.Option("--calling-ae", help="AE title we call ourselves; ours by default.")
    ] = None,
    called_ae: Annotated[
        str | None,
        typer.Option("--called-ae", help="AE title we call it by; with HOST:PORT, ANY-SCP by default."),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Over TLS, with our certificate if one is set.")] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            exists=True,
            dir_okay=False,
            help="With --tls: authorities (PEM) its certificate may come from; "
            "by default LUNGWATCH_TLS_CLIENT_CA_FILE, else this machine's.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a C-ECHO to a peer and say how far it came. Exit code 0 if it answered, 1 if not.

    It shows whether we reach the peer, as reports of storage commitment must; whether the peer reaches us is tested
    from there (echoscu -aec LUNGWATCH).
    """
    # pynetdicom is loaded for this alone
    from cli import probe  # noqa: PLC0415

    settings = _settings()
    calling = settings.ae_title if calling_ae is None else _checked(checked_ae_title, calling_ae, "--calling-ae")
    called = None if called_ae is None else _checked(checked_ae_title, called_ae, "--called-ae")
    context = probe.client_context(settings, ca_file) if tls or ca_file is not None else None
    results = [
        (target, probe.ask(probe.Probe(target.host, target.port, target.ae_title, calling, tls=context)))
        for target in _targets(peer, called, _read(settings) or EVERYBODY, settings)
    ]
    if as_json:
        print_json([{"peer": target, **plain(outcome)} for target, outcome in results])
    else:
        for target, outcome in results:
            end = "" if outcome.words.endswith("?") else "."
            say(console(), f"{target.ae_title} at {_joined(target.host, target.port)}: {outcome.words}{end}")
    if any(outcome.step is not probe.Step.ANSWERED for _, outcome in results):
        raise typer.Exit(ExitCode.FINDING)


@dataclass(frozen=True, slots=True)
class _Target:
    ae_title: str
    host: str
    port: int


def _targets(given: str, called: str | None, peers: Peers, settings: Settings) -> list[_Target]:
    """Return whom to ask: where a named peer's reports go, else the host and port given."""
    entries = [peer for peer in peers.peers if peer.ae_title == given]
    targets = [
        _Target(called or peer.ae_title, peer.report_host, peer.report_port)
        for peer in entries
        if peer.report_host is not None and peer.report_port is not None
    ]
    if targets:
        return list(dict.fromkeys(targets))
    if entries:
        message = f"{given} has no report_to in {settings.peers.absolute()}; say HOST:PORT, with --called-ae {given}"
        raise Misconfigured(message)
    try:
        return [_Target(called or _ANY_SCP, *report_address(given))]
    except ValueError as error:
        message = f"{printable(given)} is no peer in {settings.peers.absolute()}, and {error}"
        raise NoSuchPeer(message) from None


def _settings() -> Settings:
    settings = load()
    quiet(settings)
    return settings


def _read(settings: Settings) -> Peers | None:
    try:
        return read(settings.peers)
    except FileNotFoundError:
        return None


def _checked(check: Callable[[str], Checked], given: str, hint: str) -> Checked:
    try:
        return check(given)
    except ValueError as error:
        message = f"{printable(given) if given.strip() else 'what is empty'} {error}"
        raise typer.BadParameter(message, param_hint=hint) from None


def _as_written(check: Callable[[str], object], given: str, hint: str) -> str:
    # what a person chose to write is easier to read in the file than its normal form: a keyword than its UID
    _checked(check, given, hint)
    return given


def _digest(written: str | None, file: Path | None) -> str | None:
    if file is None:
        return None if written is None else _checked(certificate_digest, written, "--certificate")
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError:
        message = f"{file} holds no certificate in PEM form"
        raise Misconfigured(message) from None
    return certificate.fingerprint(hashes.SHA256()).hex()


def _addresses(peer: Peer) -> list[str]:
    """Return the networks as a person writes them: one address without the length of its prefix."""
    return [str(given.network_address if given.prefixlen == given.max_prefixlen else given) for given in peer.networks]


def _report_to(peer: Peer) -> str | None:
    if peer.report_host is None or peer.report_port is None:
        return None
    return _joined(peer.report_host, peer.report_port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_json(peer: Peer) -> dict[str, object]:
    return {
        "ae_title": peer.ae_title,
        "addresses": _addresses(peer),
        "sop_classes": peer.sop_classes,
        "report_to": _report_to(peer),
        "certificate": peer.certificate,
    }


def _say_the_rest(peers: Peers | None, settings: Settings) -> None:
    where = settings.peers.absolute()
    if peers is None:
        say(notes(), f"Nobody is named: {_no_file(settings)}.", _WARNING)
    elif peers.unknown is Unknown.ACCEPT:
        say(notes(), f"Others may send, too ({where}).")
    elif peers.peers:
        say(notes(), f"Others are refused ({where}).")
    else:
        say(notes(), f"{where} names no peer: everybody is refused.", _WARNING)


def _no_file(settings: Settings) -> str:
    missing = f"there is no peers file at {settings.peers.absolute()}"
    if settings.peers_file is None:
        return f"{missing}: everybody may send, save to a listener that runs and had read one"
    return f"{missing} (LUNGWATCH_PEERS_FILE), without which the listener does not start: put it back, or add a peer"


def _warn(changed: Changed, settings: Settings) -> None:
    """Say what else a change did: it may have closed the door to those who could send until now."""
    if changed.after.unknown is Unknown.ACCEPT:
        return
    if not changed.after.peers:
        say(notes(), "WARNING: the file names no peer: from now on EVERYBODY is refused.", _WARNING)
    elif changed.before is None and settings.peers_file is not None:
        say(
            notes(),
            f"WARNING: there was no peers file at {settings.peers.absolute()} (LUNGWATCH_PEERS_FILE), without which no "
            "listener starts; a new one is begun, and ALL OTHERS ARE REFUSED. Add every peer that sends, or say: "
            "lungwatch peers unknown accept.",
            _WARNING,
        )
    elif changed.before is None or changed.before.unknown is Unknown.ACCEPT:
        begun = f" Begun: {settings.peers.absolute()}." if changed.before is None else ""
        say(
            notes(),
            f"WARNING: until now everybody could send; from now on ALL OTHERS ARE REFUSED.{begun} "
            "Add every peer that sends, or say: lungwatch peers unknown accept.",
            _WARNING,
        )
