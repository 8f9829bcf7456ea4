"""`lungwatch results`: the radiologist's query."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from cli.ledger import open_ledger
from cli.output import console, likelihood, notes, print_csv, print_json, say, table
from core.clock import SystemClock
from db.queries import ResultRow
from db.queries import results as query_results

_AGO: Final = re.compile(r"^(\d{1,6})\s*([mhdw])$")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COLUMNS: Final = (
    "Received",
    "Accession",
    "Patient ID",
    "Study date",
    "Outcome",
    "Probability",
    "Threshold",
    "Flags",
    "Remarks",
)
# what the text of --after is made of
_NEWEST: Final = 2
_FLAGGED: Final = 4


def results(
    *,
    flagged: Annotated[bool, typer.Option("--flagged", help="Only what waits for a reader, in reading order.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Received since: 24h, 7d, 2026-11-01 ..."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 for all.")] = 100,
    after: Annotated[
        str | None, typer.Option("--after", metavar="MARK", help="Go on after the last row of the page before.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show studies and their outcomes, newest first, or with --flagged those that wait for a reader.

    A probability stands only beside the outcome it led to. AUDIT rows under --flagged show neither: they are read
    blind. Unreadable and overdue instances stand there too, so that a missing result never looks like a negative.
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    earliest = None if since is None else moment(since, SystemClock().now())
    last = None if after is None else row_of(after, flagged=flagged)
    with open_ledger() as ledger, ledger.read() as session:
        # one more than asked tells whether there is another page
        rows = query_results(session, flagged=flagged, since=earliest, limit=limit + 1 if limit else None, after=last)
    page = rows[:limit] if limit else rows
    if as_json:
        print_json(page)
    elif as_csv:
        names = [field.name for field in fields(ResultRow)]
        print_csv(names, ([getattr(row, name) for name in names] for row in page))
    elif page:
        console().print(table(_COLUMNS, (_cells(row) for row in page)))
    else:
        say(notes(), "Nothing waits for a reader." if flagged else "No studies.")
    if len(rows) > len(page):
        say(notes(), f"There are more; go on with --after '{mark_of(page[-1], flagged=flagged)}'")


def _cells(row: ResultRow) -> tuple[object, ...]:
    outcome = "-" if row.outcome is None else row.outcome.value
    return (
        row.received_at,
        row.accession_number if row.receipt_id is None else f"(receipt {row.receipt_id})",
        row.patient_id,
        row.study_date,
        f"{outcome} ({row.reason})" if row.reason else outcome,
        likelihood(row.probability),
        row.threshold,
        row.flags,
        row.annotations,
    )


def moment(text: str, now: datetime) -> datetime:
    """Read a time as people write it.

    Parameters
    ----------
    text : str
        ``30m``, ``24h``, ``7d``, ``2w`` ago, or an ISO date or time; without a zone it is this machine's.
    now : datetime
        Aware.

    Raises
    ------
    typer.BadParameter
        If it is neither.
    """
    ago = _AGO.match(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no time; write 24h, 7d, 2026-11-01 or 2026-11-01T08:00"
        raise typer.BadParameter(message) from None
    return when.astimezone(UTC)


def mark_of(row: ResultRow, *, flagged: bool) -> str:
    """Return the text that `--after` takes for going on behind this row."""
    place = [row.received_at.astimezone(UTC).isoformat(), row.study_id or 0]
    return "/".join(str(part) for part in ([*place, row.priority, row.receipt_id or 0] if flagged else place))


def row_of(mark: str, *, flagged: bool) -> ResultRow:
    """Return a row that stands where the mark says; only what orders rows is filled.

    Raises
    ------
    typer.BadParameter
        If the text is not one that a page before ended with.
    """
    parts = mark.split("/")
    try:
        received = datetime.fromisoformat(parts[0])
        study, *rest = (int(part) for part in parts[1:])
        fits = len(parts) == (_FLAGGED if flagged else _NEWEST) and received.tzinfo is not None
    except ValueError:
        fits = False
    if not fits:
        message = "--after takes what the page before ended with, with the same --flagged"
        raise typer.BadParameter(message)
    priority, receipt = rest or (None, 0)
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(ResultRow))
    values |= {
        "flags": (),
        "annotations": (),
        "received_at": received,
        "last_received_at": received,
        "study_id": study or None,
        "priority": priority,
        "receipt_id": receipt or None,
    }
    return ResultRow(**values)
