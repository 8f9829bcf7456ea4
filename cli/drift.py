"""`lungwatch drift`: whether what arrives, or what the model makes of it, is still as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Final

import typer

from cli.ledger import open_ledger
from cli.output import console, facts, notes, print_json, printable, say, table
from cli.reason import reason_text
from cli.verdicts_import import AsJson, account
from core.clock import SystemClock
from core.errors import ExitCode
from training.nightly.drift.look import look
from training.nightly.drift.reference import ensure_reference, replace_reference
from training.nightly.drift.result import Drift, Level, Measure, Period

app = typer.Typer(invoke_without_command=True)

_FORM: Final = ["%Y-%m-%d"]


@app.callback()
def drift(
    context: typer.Context,
    *,
    on: Annotated[
        datetime | None,
        typer.Option("--on", metavar="DATE", formats=_FORM, help="Look as on this day; else today, by UTC."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the last weeks against the reference: scores, flags, devices, senders, grey levels, readers' agreement.

    Where there is no reference yet and enough was received, this sets it: the weeks before today. docs/drift.md says
    what is measured and from where on it counts.

    Exit codes: 0 no strong drift; 1 strong drift, which blocks promotion unless the settings say otherwise; 2 wrong
    command line or settings.
    """
    if context.invoked_subcommand is not None:
        return
    today = SystemClock().now().astimezone(UTC).date()
    with open_ledger() as ledger:
        if on is None and ensure_reference(ledger.settings, ledger.write, today):
            say(notes(), "The reference was set now; from here on later weeks are held against it.")
        found = look(ledger.settings, ledger.read, today if on is None else on.date())
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _show(found)
    raise typer.Exit(ExitCode.FINDING if found.level is Level.STRONG else ExitCode.FINE)


@app.command()
def reference(
    *,
    first: Annotated[datetime, typer.Option("--first", metavar="DATE", formats=_FORM, help="First day, by UTC.")],
    last: Annotated[datetime, typer.Option("--last", metavar="DATE", formats=_FORM, help="Last day, by UTC.")],
    reason: Annotated[str, typer.Option("--reason", help="Why these are weeks to hold others against.")],
    as_json: AsJson = False,
) -> None:
    """Set another reference, for instance some weeks after a promotion or with a new device that is wanted.

    Earlier references stay on record, with who set them and why.
    """
    days: tuple[date, date] = first.date(), last.date()
    if days[0] > days[1]:
        raise typer.BadParameter("--first must not be after --last")
    why = reason_text(reason)
    with open_ledger() as ledger, ledger.write.begin() as session:
        today = SystemClock().now().astimezone(UTC).date()
        studies = replace_reference(session, *days, today, actor=account(), reason=why)
    if as_json:
        print_json({"first": days[0], "last": days[1], "studies": studies})
    else:
        say(notes(), f"From now on held against {days[0]} to {days[1]}, {studies} studies.")


def _show(found: Drift) -> None:
    out = console()
    rows = [
        ("Drift", found.level),
        ("Blocks promotion", found.blocks),
        ("Reference", _period(found.reference)),
        ("Held against it", _period(found.recent)),
        ("Model", found.model),
    ]
    out.print(facts(rows))
    if found.measures:
        out.print()
        columns = ("Measure", "Level", "By", "Value", "Notice from", "Strong from", "Now", "Reference")
        out.print(table(columns, (_cells(measure) for measure in found.measures)))
        out.print()
    style = {Level.STRONG: "bold red", Level.NOTICE: "bold yellow", Level.NONE: "bold green"}.get(found.level)
    say(out, printable(found.words), style=style)


def _cells(one: Measure) -> tuple[object, ...]:
    counts = one.recent_count, one.reference_count
    return one.name.replace("_", " "), one.level, one.statistic, one.value, one.notice, one.strong, *counts


def _period(period: Period | None) -> str:
    return "-" if period is None else f"{period.first} to {period.last}, {period.studies} studies"
