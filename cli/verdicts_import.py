"""`lungwatch verdicts import`: verdicts from a table, all or nothing."""

from __future__ import annotations

import getpass
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import select

from cli.ledger import Ledger, open_ledger
from cli.output import console, notes, print_json, say, table
from cli.verdict_table import Defaults, Table, read_table
from core.errors import ExitCode
from db.base import database_now
from db.verdict_import import LEAVABLE, Problem, match
from db.verdict_text import LONGEST_READER, reader_name
from db.verdicts import Recorded, record

_MOST_SHOWN: Final = 100

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Visible = Annotated[
    bool | None,
    typer.Option("--model-visible/--blind", help="Whether the reader saw what the model said.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do.

    Attributes
    ----------
    known : int
        Verdicts that were entered before, by this file or another.
    left_out : tuple of Problem
        With --skip-unknown: lines on studies that are not in the ledger or have not settled.
    problems : tuple of Problem
        Lines for which nothing is entered at all.
    """

    dry_run: bool
    sha256: str
    entered: int
    known: int
    left_out: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    ignored_columns: tuple[str, ...]


def import_verdicts(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="CSV; see docs/labels.md.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    reader: Annotated[str | None, typer.Option("--reader", help="Of lines that do not say.")] = None,
    model_visible: Visible = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Of times without one, such as Europe/Berlin; else this machine's.")
    ] = None,
    skip_unknown: Annotated[
        bool,
        typer.Option("--skip-unknown", help="Leave out studies that are not in the ledger or have not settled."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Enter verdicts from a CSV, all or nothing; lines that do not fit are listed with what is wrong.

    Importing again changes nothing. Nothing of a line is quoted: look it up by its number.

    Exit codes: 0 entered, or fit to be; 1 lines do not fit, nothing entered; 2 wrong command line, settings or file.
    """
    defaults = Defaults(None if reader is None else reader_name(reader), model_visible, _zone(timezone))
    with open_ledger() as ledger:
        with ledger.read() as session:
            now = session.scalars(select(database_now())).one()
        read = read_table(file, defaults, now)
        done = _enter(ledger, read, dry_run=dry_run, skip_unknown=skip_unknown)
    if as_json:
        print_json(done)
    else:
        _tell(done)
    if done.problems:
        raise typer.Exit(int(ExitCode.FINDING))


def account() -> str:
    """Return who runs this, for the verdict's row."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return "".join(character for character in name if character.isprintable())[:LONGEST_READER]


def _enter(ledger: Ledger, read: Table, *, dry_run: bool, skip_unknown: bool) -> Imported:
    """Match and record in one transaction; a study that changes in between keeps waiting for what was not read."""
    with ledger.read() if dry_run else ledger.write() as session:
        matched = match(session, read.lines, read.sha256, account())
        problems = sorted((*read.problems, *matched.problems), key=lambda one: one.line)
        leavable = LEAVABLE if skip_unknown else frozenset()
        left_out = [one for one in problems if one.kind in leavable]
        wrong = [one for one in problems if one.kind not in leavable]
        done = Recorded(0, 0)
        if not wrong:
            done = record(session, matched.verdicts, dry_run=dry_run)
            if not dry_run:
                session.commit()
    return Imported(dry_run, read.sha256, done.entered, done.known, tuple(left_out), tuple(wrong), read.ignored)


def _tell(done: Imported) -> None:
    if done.ignored_columns:
        say(notes(), f"Columns that are none of ours are ignored: {len(done.ignored_columns)}.")
    for title, problems in (("does not fit", done.problems), ("left out", done.left_out)):
        if problems:
            console().print(
                table(("Line", title, "Why"), ((one.line, one.kind, one.detail) for one in problems[:_MOST_SHOWN]))
            )
            counts = Counter(one.kind.value for one in problems)
            say(notes(), "; ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    if done.problems:
        say(notes(), f"{len(done.problems)} lines do not fit; nothing is entered.")
    else:
        verb = "would be entered" if done.dry_run else "entered"
        say(notes(), f"{done.entered} verdicts {verb}, {done.known} were entered before.")


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = "--timezone is no zone of the IANA database, such as Europe/Berlin"
        raise typer.BadParameter(message) from None
