"""`lungwatch status`: one screen that says whether all is well."""

from __future__ import annotations

import shutil
import socket
from dataclasses import asdict, replace
from typing import Annotated

import typer

from cli.health import Disk, alive, problems, problems_here, standing
from cli.ledger import open_ledger, quiet
from cli.listener_now import listener_now
from cli.output import console, notes, print_json, printable, say
from cli.status_screen import SCREEN_WIDTH, Screen, show
from cli.workers_now import workers_now
from core import peers
from core.errors import ExitCode, Misconfigured
from core.settings import Settings, load
from db.report import StatusReport
from db.report import status as query_status
from db.vocabulary import ProcessKind
from dicom_listener.storage.disk import Watermark
from dicom_listener.upper_layer.tls import Tls


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    listener: Annotated[
        bool, typer.Option("--listener", help="Only ask this machine's listener by C-ECHO; needs no ledger.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Only this host's processes, as a container's health check.")
    ] = False,
) -> None:
    """Show work, workers, results, model and disk on one screen. Exit code 1 while something is wrong.

    Wrong is: this host's listener does not answer a C-ECHO, or its peers file or certificates are wrong, no registrar
    or no worker, one that says it has a problem, registration that lags, overdue images, no model in service, a night
    that failed or is overdue, free space under the watermark. Quarantined images and flagged studies are work, not
    faults.
    """
    if listener:
        _answer(_ask_listener(), as_json=as_json)
    with open_ledger() as ledger, ledger.read() as session:
        settings = ledger.settings
        found = query_status(session)
    report = replace(found, processes=tuple(standing(found.processes, settings)))
    if here:
        _answer(problems_here(report, settings, socket.gethostname()), as_json=as_json)
    disk = measure(settings)
    listening = listener_now(settings)
    hosts = workers_now(report.processes, settings)
    wrong = problems(report, settings, disk)
    if _listens_here(report, settings):
        # a listener that hangs writes no heartbeat that would stop: it has to be asked
        wrong += _ask_listener()
        wrong += files_wrong(settings)
    if as_json:
        verdict = {"well": not wrong, "problems": wrong, "disk": None if disk is None else asdict(disk)}
        now = {"listener": None if listening is None else asdict(listening), "workers": [asdict(one) for one in hosts]}
        print_json(verdict | now | asdict(report))
    else:
        show(console(SCREEN_WIDTH), Screen(report, settings, disk, listening, hosts, wrong))
    raise typer.Exit(ExitCode.FINDING if wrong else ExitCode.FINE)


def _listens_here(report: StatusReport, settings: Settings) -> bool:
    """Whether the registrar of this very listener lives on this host, and so its listener should."""
    here = socket.gethostname()
    return any(
        process.kind is ProcessKind.REGISTRAR
        and (process.host, process.listener) == (here, settings.listener_name)
        and alive(process, settings)
        for process in report.processes
    )


def _ask_listener() -> list[str]:
    # the DICOM library only for the one question that needs it
    from cli.echo import echo  # noqa: PLC0415

    settings = load()
    quiet(settings)
    said = echo(settings)
    return [] if said is None else [said]


def files_wrong(settings: Settings) -> list[str]:
    """Return which files the listener lives without just now, and would not start without."""
    found: list[str] = []
    for look_at in (_peers, Tls.from_settings):
        try:
            look_at(settings)
        except Misconfigured as error:
            found.append(f"{error}. A listener that runs goes by what it last read, and would not start again.")
    return found


def _peers(settings: Settings) -> None:
    try:
        peers.read(settings.peers)
    except FileNotFoundError:
        if settings.peers_file is not None:
            message = f"there is no peers file at {settings.peers} (LUNGWATCH_PEERS_FILE)"
            raise Misconfigured(message) from None
    except OSError as error:
        message = f"{settings.peers} cannot be read ({error.strerror})"
        raise Misconfigured(message) from None


def _answer(found: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"well": not found, "problems": found})
    else:
        for sentence in found or ["well"]:
            say(notes(), printable(sentence))
    raise typer.Exit(ExitCode.FINDING if found else ExitCode.FINE)


def measure(settings: Settings) -> Disk | None:
    """Return the room where the data directory lies, or None where it is not on this machine."""
    if not settings.data_dir.exists():
        return None
    watermark = Watermark(settings.data_dir, settings.free_space_fraction, settings.free_space_bytes)
    usage = shutil.disk_usage(settings.data_dir)
    return Disk(usage.total, usage.free, watermark.floor(usage.total))
