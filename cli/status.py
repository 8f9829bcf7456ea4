"""`lungwatch status`: one screen that says whether all is well."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.health import Disk, alive, problems, problems_here, standing
from cli.ledger import open_ledger, quiet
from cli.listener_now import ListenerNow, in_words, listener_now
from cli.output import console, facts, notes, print_json, printable, say, shown, table
from core import peers
from core.errors import ExitCode, Misconfigured
from core.settings import Settings, load
from db.report import StatusReport
from db.report import status as query_status
from db.vocabulary import ProcessKind, ReceiptState
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
    """Show processes, work, results, model and disk on one screen. Exit code 1 while something is wrong.

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
    wrong = problems(report, settings, disk)
    if _listens_here(report, settings):
        # a listener that hangs writes no heartbeat that would stop: it has to be asked
        wrong += _ask_listener()
        wrong += files_wrong(settings)
    if as_json:
        verdict = {"well": not wrong, "problems": wrong, "disk": None if disk is None else asdict(disk)}
        print_json(verdict | {"listener": None if listening is None else asdict(listening)} | asdict(report))
    else:
        _show(console(), report, settings, disk, listening, found=wrong)
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


def _show(
    out: Console,
    report: StatusReport,
    settings: Settings,
    disk: Disk | None,
    listening: ListenerNow | None,
    *,
    found: list[str],
) -> None:
    if found:
        say(out, "Something is wrong:", style="bold red")
        for sentence in found:
            say(out, f"  - {printable(sentence)}")
    else:
        say(out, "All is well.", style="bold green")
    out.print()
    waiting = "" if report.oldest_pending_seconds is None else f", the oldest for {report.oldest_pending_seconds:.0f} s"
    model = report.champion
    rows: list[tuple[str, object]] = [
        ("Listener", in_words(listening)),
        ("Pending", f"{report.pending}{waiting}"),
        ("Terminal", f"{_counts(_terminal(report))} within a day"),
        ("Quarantined", _counts(report.quarantined)),
        ("Studies", f"{_counts(report.studies)} within a day; {report.unsettled} not settled"),
        ("Wait for a reader", report.flagged),
        ("Model", "-" if model is None else f"{model.name} {model.version}, since {shown(model.since)}"),
    ]
    asked = report.commitments
    if asked.waiting or asked.reported or asked.given_up:
        age = "" if asked.oldest_waiting_seconds is None else f", the oldest for {asked.oldest_waiting_seconds:.0f} s"
        within = f"within a week {asked.reported} reported, {asked.given_up} given up"
        rows.append(("Commitment", f"{asked.waiting} wait to be reported{age}; {within}"))
    if report.rescoring:
        rows.append(("Re-scoring", f"{report.rescoring} wait, behind whatever is newly received"))
    if report.night is not None:
        doing = f", at {report.night.step}" if report.night.held else ""
        rows.append(("Night", f"{report.night.night}: {report.night.state}{doing}"))
    if disk is not None:
        rows.append(("Disk", f"{disk.free >> 30} of {disk.total >> 30} GiB free, {disk.watermark >> 30} must stay"))
    out.print(facts(rows))
    if report.processes:
        out.print()
        lines = [
            (
                process.kind,
                process.host,
                process.pid,
                "stopped" if process.stopped_at else "runs" if alive(process, settings) else "silent",
                f"{process.seen_seconds:.0f} s ago",
                process.model or process.listener,
                process.problem,
            )
            for process in report.processes
        ]
        out.print(table(("Process", "Host", "PID", "State", "Seen", "Serves", "Problem"), lines))


def _terminal(report: StatusReport) -> dict[ReceiptState, int]:
    return {state: count for state, count in report.receipts.items() if state is not ReceiptState.PENDING}


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {shown(word)}" for word, count in counts.items() if count) or "none"
