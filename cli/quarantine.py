"""`lungwatch quarantine`: what could not be processed, and putting it back once the cause is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.ledger import open_ledger
from cli.output import console, facts, notes, print_json, say, table
from core.spool import Entry, place
from db import quarantine
from db.quarantine import QuarantinedRow

app = typer.Typer(
    help="List, show or retry what could not be processed. Nothing in quarantine is ever deleted.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Argument(metavar="RECEIPT", help="Number of the receipt, from the list.")]


@app.command("list")
def list_quarantined(
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Only those of this coded reason.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 for all.")] = 100,
    after: Annotated[int | None, typer.Option("--after", help="Go on after this receipt.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what is in quarantine, newest first."""
    with open_ledger() as ledger, ledger.read() as session:
        rows = quarantine.quarantined(session, reason=reason, limit=limit or None, after_id=after)
    if as_json:
        print_json(rows)
    elif rows:
        cells = [
            (row.receipt_id, row.received_at, row.peer, row.size, row.reason, row.attempts, row.accession_number)
            for row in rows
        ]
        console().print(table(("Receipt", "Received", "From", "Bytes", "Reason", "Starts", "Accession"), cells))
    else:
        say(notes(), "Nothing is in quarantine.")


@app.command()
def show(receipt: Number, *, as_json: AsJson = False) -> None:
    """Show one quarantined receipt: reason, starts, and where its file lies."""
    with open_ledger() as ledger, ledger.read() as session:
        row = quarantine.show(session, receipt)
    path = file_of(row, ledger.settings.data_dir)
    if as_json:
        print_json({"receipt": row, "file": path, "present": path.exists()})
        return
    lines: list[tuple[str, object]] = [
        ("Receipt", row.receipt_id),
        ("Reason", row.reason),
        ("Detail", row.detail),
        ("Starts", row.attempts),
        ("Put back before", f"{row.retries} times"),
        ("Received", row.received_at),
        ("From", row.peer),
        ("Given up", row.finished_at),
        ("Study", row.study_uid),
        ("Accession number", row.accession_number),
        ("File", path if path.exists() else f"{path} (missing)"),
        ("Bytes", row.size),
    ]
    console().print(facts(lines))
    say(notes(), f"Once the cause is gone: lungwatch quarantine retry {row.receipt_id}")


@app.command()
def retry(
    receipt: Annotated[int | None, typer.Argument(metavar="[RECEIPT]", help="Number of the receipt.")] = None,
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Put back all of this coded reason.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="With --reason: at most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Put a quarantined receipt, or all of one reason, back to work with their starts counted anew."""
    if (receipt is None) == (reason is None):
        message = "say either the number of a receipt or --reason"
        raise typer.BadParameter(message)
    if reason is not None:
        _retry_all(reason, limit, as_json=as_json)
    elif receipt is not None:
        _retry_one(receipt, as_json=as_json)


def _retry_one(receipt: int, *, as_json: bool) -> None:
    with open_ledger() as ledger, ledger.write.begin() as session:
        quarantine.retry(session, receipt)
    if as_json:
        print_json({"receipt_id": receipt, "state": "PENDING"})
    else:
        say(notes(), f"Receipt {receipt} waits to be processed again; lungwatch status shows the work.")


def _retry_all(reason: str, limit: int, *, as_json: bool) -> None:
    with open_ledger() as ledger:
        retried = quarantine.retry_all(ledger.write, reason, limit)
    if as_json:
        print_json(retried)
        return
    say(notes(), f"{retried.put_back} put back to be processed again; {retried.left} of {reason} left in quarantine.")


def file_of(row: QuarantinedRow, data: Path) -> Path:
    """Return where the receipt's file lies, or should."""
    return place(data, row.listener, Entry.parse(row.entry), stored=row.stored)
