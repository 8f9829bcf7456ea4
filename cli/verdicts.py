"""`lungwatch verdicts`: what readers said of studies, and what that says of the model."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Final

import typer
from sqlalchemy import select

from cli.ledger import open_ledger
from cli.output import console, notes, print_csv, print_json, say, table
from cli.results import moment
from cli.verdicts_import import AsJson, Visible, account, import_verdicts
from core.clock import SystemClock
from db.base import database_now
from db.draws import draws
from db.judged import Judged
from db.judged import disagreements as query_disagreements
from db.verdict_text import comment_text, reader_name, reading_time
from db.verdicts import NewVerdict, VerdictRow, named, record, verdicts
from db.vocabulary import VerdictKind, VerdictOrigin
from training.labels.in_service import Figure, InService, in_service

app = typer.Typer(
    help="Enter, import or list what readers said of studies. A verdict is never changed or deleted: the reader's next "
    "one replaces it.",
    no_args_is_help=True,
)

Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="24h, 7d, 2026-11-01 ...")]


@app.command()
def add(
    study: Annotated[str, typer.Argument(metavar="ACCESSION-OR-UID", help="Accession number or study UID.")],
    verdict: Annotated[VerdictKind, typer.Argument(case_sensitive=False, help="What the reader says.")],
    *,
    reader: Annotated[str, typer.Option("--reader", help="Who says it; a login or code rather than a name.")],
    model_visible: Visible = None,
    comment: Annotated[str | None, typer.Option("--comment", help="In words, without patient's names.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="WHEN", help="When it was read, if not now: 2h, 2026-11-01T08:00 ...")
    ] = None,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Of the study, if not the one that stood then.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Enter one verdict on a settled study.

    The study leaves the list of those that wait for a reader, unless the verdict is INDETERMINATE or something of it
    changes later. Entering the same again changes nothing.

    Exit codes: 0 entered; 1 no such study, or it has not settled; 2 wrong command line or settings.
    """
    if model_visible is None:
        message = "say --blind or --model-visible: what is read blind is what the model is judged by"
        raise typer.BadParameter(message)
    with open_ledger() as ledger, ledger.write.begin() as session:
        now = session.scalars(select(database_now())).one()
        read_at = reading_time(now if at is None else moment(at, now), now)
        settled = named(session, study, revision, None if at is None else read_at)
        new = NewVerdict(
            revision_id=settled.revision_id,
            reader=reader_name(reader),
            read_at=read_at,
            verdict=verdict,
            model_visible=model_visible,
            comment=comment_text(comment),
            origin=VerdictOrigin.COMMAND,
            entered_by=account(),
        )
        done = record(session, [new])
    if as_json:
        print_json({"entered": done.entered, "known": done.known, "revision": settled.revision})
    elif done.entered:
        say(notes(), f"Entered, on revision {settled.revision} of the study.")
    else:
        say(notes(), "The same was entered before; nothing changed.")


app.command("import")(import_verdicts)


@app.command("list")
def list_verdicts(
    *,
    study: Annotated[str | None, typer.Option("--study", help="Only on this accession number or study UID.")] = None,
    reader: Annotated[str | None, typer.Option("--reader", help="Only by this reader.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 for all.")] = 100,
    after: Annotated[int | None, typer.Option("--after", help="Go on after this verdict.")] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List verdicts, those entered last first."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    earliest = None if since is None else moment(since, SystemClock().now())
    with open_ledger() as ledger, ledger.read() as session:
        rows = verdicts(
            session,
            term=study,
            reader=None if reader is None else reader_name(reader),
            since=earliest,
            limit=limit or None,
            after_id=after,
        )
    if as_json:
        print_json(rows)
    elif as_csv:
        names = [field.name for field in fields(VerdictRow)]
        print_csv(names, ([getattr(row, name) for name in names] for row in rows))
    elif rows:
        console().print(table(_COLUMNS, (_cells(row) for row in rows)))
    else:
        say(notes(), "No verdicts.")


@app.command()
def disagreements(
    *,
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="Only where no answer has more than half of the readers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List studies on which readers say different things of pneumonia, and what that comes to."""
    with open_ledger() as ledger, ledger.read() as session:
        found = query_disagreements(session, unresolved=unresolved)
    if as_json:
        print_json([_disagreement(one) for one in found])
    elif found:
        rows = [(one.accession_number, one.study_uid, one.revision, one.consensus.finding, _said(one)) for one in found]
        console().print(table(("Accession", "Study UID", "Revision", "Together", "Readers"), rows))
    else:
        say(notes(), "Readers disagree on no study.")


@app.command()
def audit(
    *,
    since: Since = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Drawn before: 7d leaves readers a week's time.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate sensitivity and specificity in service from the studies drawn for blind review.

    Every drawn study stands for one over its chance of being drawn. Intervals are 95 %, by patient. Where too few are
    read to tell, no figure is given.
    """
    now = SystemClock().now()
    bounds = [None if text is None else moment(text, now) for text in (since, until)]
    with open_ledger() as ledger, ledger.read() as session:
        found = in_service(draws(session, since=bounds[0], until=bounds[1]))
    if as_json:
        print_json(found)
    elif found.cells:
        _show(found)
    else:
        say(notes(), "No study was drawn for blind review in that time.")


_COLUMNS: Final = ("Number", "Read", "Reader", "Accession", "Revision", "Verdict", "Blind", "Stands", "Comment")


def _cells(row: VerdictRow) -> tuple[object, ...]:
    return (
        row.verdict_id,
        row.read_at,
        row.reader,
        row.accession_number or row.study_uid,
        row.revision,
        row.verdict,
        not row.model_visible,
        row.stands,
        row.comment,
    )


def _disagreement(one: Judged) -> dict[str, Any]:
    return {
        "study_uid": one.study_uid,
        "accession_number": one.accession_number,
        "revision": one.revision,
        "together": one.consensus.finding,
        "readings": [
            {"reader": said.reader, "read_at": said.read_at, "verdict": said.verdict, "blind": not said.model_visible}
            for said in one.consensus.standing
        ],
    }


def _said(one: Judged) -> list[str]:
    return [f"{said.reader}: {said.verdict}" for said in one.consensus.standing]


def _show(found: InService) -> None:
    out = console()
    rows = [
        ("sensitivity", *_figure(found.sensitivity)),
        ("specificity", *_figure(found.specificity)),
        ("pneumonia that was assessed", *_figure(found.assessed)),
    ]
    out.print(table(("In service", "Value (95 % interval by patient)", "For", "Against"), rows))
    cells = [
        (cell.outcome, cell.drawn, round(cell.stands_for), cell.answered, cell.undecided, cell.seen, cell.unread)
        for cell in found.cells
    ]
    columns = ("When drawn", "Drawn", "Stand for", "Answered", "Undecided", "Read, not blind", "Unread")
    out.print(table(columns, cells))
    say(notes(), "Those not answered are taken to be like those answered of the same outcome; see docs/labels.md.")


def _figure(figure: Figure) -> tuple[str, int, int]:
    if figure.value is None:
        return figure.problem or "-", figure.hits, figure.misses
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})", figure.hits, figure.misses
