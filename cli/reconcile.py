"""`lungwatch reconcile`: whether everything that was acknowledged still adds up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cli.ledger import open_ledger
from cli.output import console, facts, notes, print_json, printable, say
from core.errors import ExitCode, Misconfigured
from db.audit import Audit
from db.reconcile import Reconciliation


def reconcile(
    *,
    digests: Annotated[
        bool, typer.Option("--digests", help="Also read every file and compare its SHA-256; takes its time.")
    ] = False,
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds a file may wait for its receipt before it counts.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold spool, stored files and receipts against each other, and name every entry that does not fit.

    Acknowledged = terminal + pending + waiting for registration, or it is not clean. Runs while traffic flows;
    changes nothing. Exit code 1 when it is not clean. docs/runbook.md says what each finding means.
    """
    with open_ledger() as ledger:
        data = ledger.settings.data_dir
        if not data.is_dir():
            message = (
                f"the data directory is not on this machine: {data.absolute()}. Run this where it is mounted, "
                "or set LUNGWATCH_DATA_DIR."
            )
            raise Misconfigured(message)
        audit = Audit(ledger.read, data, grace_seconds=grace)
        with _progress(notes()) as progress:
            task = progress.add_task("Comparing")
            found = audit.run(
                digests=digests, progress=lambda done, of: progress.update(task, completed=done, total=of)
            )
    if as_json:
        print_json({"clean": found.clean, "balanced": found.balanced} | asdict(found))
    else:
        _show(console(), found)
    raise typer.Exit(ExitCode.FINE if found.clean else ExitCode.FINDING)


def _progress(out: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _show(out: Console, found: Reconciliation) -> None:
    unregistered = found.waiting + found.unregistered
    rows = [
        ("Acknowledged", found.acknowledged),
        ("Terminal", found.terminal),
        ("Pending", found.pending),
        ("Not registered yet", unregistered),
        ("Removed by policy", f"{found.removed}{f', {found.removing} under way' if found.removing else ''}"),
        ("Files", f"{found.files}, digests {'compared' if found.digests else 'not compared'}"),
    ]
    out.print(facts(rows))
    if found.findings:
        out.print()
        # one line each and never folded, for grep and for copying
        for one in found.findings:
            where = f" ({one.listener})" if one.listener else ""
            say(out, f"{one.misfit} {printable(one.name)}{where}: {printable(one.detail)}")
    if found.clean:
        say(out, "\nClean: everything acknowledged is accounted for.", style="bold green")
    elif found.findings:
        say(out, f"\nNot clean: {len(found.findings)} findings.", style="bold red")
    else:
        say(out, "\nNot clean: the numbers do not add up.", style="bold red")
