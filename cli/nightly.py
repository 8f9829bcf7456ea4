"""`lungwatch nightly`: the job that retrains, examines again, and promotes only what is better."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from cli.ledger import Ledger, open_ledger
from cli.output import console, facts, notes, print_json, say, table
from core import logging, nights
from core.clock import SystemClock
from core.errors import ExitCode, Misconfigured
from core.priority import stand_back
from core.settings import Settings
from core.signals import StopSignals
from db import nightly_runs as runs
from db.models.learning import NightlyRun
from db.models.model import ModelVersion
from db.vocabulary import NightState
from training.nightly.report.names import JSON, PAGE, TEXT

app = typer.Typer(invoke_without_command=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLUMNS: Final = ("Night", "State", "Kind", "Challenger", "Reason", "Report")


@dataclass(frozen=True, slots=True)
class NightRow:
    """A night as it is listed.

    Attributes
    ----------
    held : bool
        Whether somebody is at it.
    report : str or None
        Folder of the report, below the data directory.
    seconds : dict of str to float
        What each step took.
    """

    night: date
    state: NightState
    kind: str | None
    step: str
    progress: str | None
    attempts: int
    held: bool
    started_at: datetime
    finished_at: datetime | None
    plan: str | None
    champion: str | None
    challenger: str | None
    verdict: str | None
    drift: str | None
    reason: str | None
    report: str | None
    seconds: dict[str, Any]


@app.callback()
def nightly(
    context: typer.Context,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Run tonight's job, or go on with it, and wait for its end.")
    ] = False,
    due: Annotated[
        bool, typer.Option("--due", hidden=True, help="The same if a night is due, with JSON logs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Retrain, examine again, and promote only what is better; beat starts it at LUNGWATCH_NIGHTLY_HOUR.

    Needs LUNGWATCH_SIGNING_KEY_FILE, labels (`lungwatch data import`, verdicts) and a frozen test set
    (`lungwatch testset freeze`). Safe to start twice, to stop and to kill: the next start goes on.

    One night a date, that of its begin. A night that has failed may be run again by hand.

    Exit codes: 0 the night ended, or somebody else is at it; 1 it failed; 2 wrong settings; 3 disk or ledger away;
    130 interrupted, and gone on with by the next start.
    """
    if context.invoked_subcommand is not None:
        return
    if not now and not due:
        typer.echo(context.get_help())
        raise typer.Exit
    with open_ledger() as ledger:
        if due:
            logging.configure(ledger.settings)
        ending = _run(ledger, due=due)
        if ending is None or due:
            return
        with ledger.read() as session:
            row = runs.of_night(session, ending)
            found = None if row is None else _row(session, row)
    if found is None:
        return
    if as_json:
        print_json(found)
    else:
        _show(found)
    if found.state is NightState.FAILED:
        raise typer.Exit(ExitCode.FINDING)


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show the newest night: the step under way, how far it has come, and how it ended."""
    with open_ledger() as ledger, ledger.read() as session:
        rows = [_row(session, row) for row in runs.newest(session, 1)]
    if as_json:
        print_json(rows[0] if rows else None)
    elif rows:
        _show(rows[0])
    else:
        say(notes(), "No night has run yet.")


@app.command("list")
def list_nights(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 30,
    as_json: AsJson = False,
) -> None:
    """List nights, the newest first, with the page of each."""
    with open_ledger() as ledger, ledger.read() as session:
        rows = [_row(session, row) for row in runs.newest(session, limit)]
        data = ledger.settings.data_dir.resolve()
    if as_json:
        print_json(rows)
    elif rows:
        cells = [
            (
                row.night,
                row.state,
                row.kind,
                row.challenger,
                row.reason,
                None if row.report is None else data / row.report / PAGE,
            )
            for row in rows
        ]
        console().print(table(_COLUMNS, cells))
    else:
        say(notes(), "No night has run yet.")


@app.command()
def show(
    night: Annotated[str, typer.Argument(help="Its date, such as 2026-11-30; else the newest.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Print a night's report in short, or all of it as JSON; the page beside it has the plots."""
    with open_ledger() as ledger, ledger.read() as session:
        row = runs.of_night(session, _date(night)) if night else next(iter(runs.newest(session, 1)), None)
        if row is None or row.report is None:
            raise Misconfigured(f"there is no report of {night or 'any night'}; see lungwatch nightly list")
        folder = ledger.settings.data_dir.resolve() / row.report
    path = folder / (JSON if as_json else TEXT)
    try:
        typer.echo(path.read_text("utf-8").rstrip())
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None


def _run(ledger: Ledger, *, due: bool) -> date | None:
    """Run the night that is due, or meant; return its date, None where there was nothing to do."""
    from bundle.signing import private_key, refuse_untrusted_self  # noqa: PLC0415 - --help must answer at once

    settings, clock = ledger.settings, SystemClock()
    local = clock.now().astimezone()
    night = nights.tonight(local, settings.nightly_hour)
    if due and (
        settings.nightly_hour is None or nights.due(local, settings.nightly_hour, settings.nightly_hours) is None
    ):
        return None
    key = private_key(settings)
    refuse_untrusted_self(settings)
    _refuse_without_data(settings)
    # before TensorFlow starts its threads, which inherit it
    stand_back(settings.nightly_niceness)
    signals = StopSignals()
    from training.nightly.run import run  # noqa: PLC0415 - likewise
    from training.nightly.tonight import Tonight, recipes  # noqa: PLC0415 - likewise

    tonight = Tonight(
        night,
        settings,
        ledger.write,
        ledger.read,
        key,
        clock,
        lambda begun: recipes(settings, begun),
        stopping=lambda: signals.came,
    )
    # whoever starts one by hand has put right what it failed of
    ended = run(tonight, again=not due)
    if ended is None:
        say(notes(), f"Nothing was done: the night of {night} has ended, or somebody is at it.")
    elif ended.state is NightState.RUNNING:
        say(notes(), ended.reason)
        if signals.came:
            raise typer.Exit(ExitCode.INTERRUPTED)
    return night


def _refuse_without_data(settings: Settings) -> None:
    if not settings.data_dir.is_dir():
        raise Misconfigured(
            f"the data directory is not on this machine: {settings.data_dir.absolute()}. Run this where it is mounted"
        )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date such as 2026-11-30") from None


def _row(session: Any, row: NightlyRun) -> NightRow:
    def title(model_version_id: int | None) -> str | None:
        if model_version_id is None:
            return None
        model = session.get_one(ModelVersion, model_version_id)
        return f"{model.name} {model.version}"

    return NightRow(
        night=row.night,
        state=row.state,
        kind=None if row.kind is None else row.kind.value,
        step=row.step.value,
        progress=row.progress,
        attempts=row.attempts,
        held=runs.is_held(session, row.id),
        started_at=row.started_at,
        finished_at=row.finished_at,
        plan=row.plan,
        champion=title(row.champion_id),
        challenger=title(row.challenger_id),
        verdict=None if row.decision is None else row.decision.get("verdict"),
        drift=None if row.drift is None else row.drift.get("level"),
        reason=row.reason,
        report=row.report,
        seconds=row.seconds,
    )


def _state(row: NightRow) -> str:
    if row.state is not NightState.RUNNING or row.held:
        return row.state.value
    return f"{row.state.value}, and nobody is at it (start {row.attempts}): lungwatch nightly --now goes on with it"


def _show(row: NightRow) -> None:
    took = None if row.finished_at is None else str(timedelta(seconds=round(sum(row.seconds.values()))))
    rows = [
        ("Night", row.night),
        ("State", _state(row)),
        ("Step", row.step if row.progress is None else f"{row.step}: {row.progress}"),
        ("Plan", row.plan),
        ("Champion", row.champion),
        ("Challenger", row.challenger),
        ("Gate", row.verdict),
        ("Drift", row.drift),
        ("Reason", row.reason),
        ("Took", took),
        ("Report", None if row.report is None else f"{row.report}/{PAGE}"),
    ]
    console().print(facts([(name, value) for name, value in rows if value is not None]))
