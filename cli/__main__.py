"""The `lungwatch` command: which command lives where, loaded only when asked for.

``lungwatch --help`` imports none of the command modules, so it answers at once
and no broken optional part can take it away.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from cli.errors import epilog, report
from core.errors import ExitCode

# group may read, others nothing; also for what libraries create (SQLite and its journals, beat's schedule)
_OTHERS: Final = 0o027

Panel = Literal["Run", "Look", "Model", "Administer"]


@dataclass(frozen=True, slots=True)
class Planned:
    """Where a command lives.

    Attributes
    ----------
    place : str
        ``module:attribute``; the attribute is a `typer.Typer` or a function.
    summary : str
        The line in ``lungwatch --help``.
    """

    place: str
    summary: str
    panel: Panel


COMMANDS: Final[dict[str, Planned]] = {
    "serve": Planned("cli.serve:serve", "Run everything on this machine: listener, worker and beat.", "Run"),
    "demo": Planned("cli.demo.command:demo", "Send a day's worth of odd studies through it, account for each.", "Run"),
    "listen": Planned("cli.listen:listen", "Run the DICOM listener and its registrar.", "Run"),
    "work": Planned("cli.work:work", "Run one worker: claim, read, classify, decide.", "Run"),
    "beat": Planned("cli.beat:beat", "Run the scheduler of timed work.", "Run"),
    "results": Planned("cli.results:results", "Show studies and outcomes, or those that wait for a reader.", "Look"),
    "status": Planned("cli.status:status", "Show on one screen whether all is well.", "Look"),
    "reconcile": Planned(
        "cli.reconcile:reconcile", "Hold spool, stored files and receipts against each other.", "Look"
    ),
    "trace": Planned("cli.trace:trace", "Tell one study's whole story.", "Look"),
    "quarantine": Planned("cli.quarantine:app", "List, show or retry what could not be processed.", "Look"),
    "verdicts": Planned("cli.verdicts:app", "Enter, import or list what readers said; judge the model by it.", "Look"),
    "drift": Planned("cli.drift:app", "See whether what arrives is still as it was; set what that is.", "Look"),
    "predict": Planned("cli.predict:predict", "Classify DICOM or image files; needs no database.", "Model"),
    "models": Planned("cli.models:app", "List, show, verify, promote or roll back model versions.", "Model"),
    "data": Planned("cli.data:app", "Look at a data set; register it with labels and patient split.", "Model"),
    "labels": Planned("cli.labels:app", "Make labels from verdicts; list labels and what they come from.", "Model"),
    "testset": Planned("cli.testset:app", "Freeze the test set that models are judged on; list its versions.", "Model"),
    "train": Planned("cli.training:train", "Train a model on a data set.", "Model"),
    "compare": Planned("cli.compare:compare", "Fit the notebook's models and judge them side by side.", "Model"),
    "evaluate": Planned("cli.measuring:evaluate", "Measure a model on a data set, with intervals.", "Model"),
    "nightly": Planned("cli.nightly:app", "Run the nightly job, watch it, read what nights came to.", "Model"),
    "stress": Planned(
        "cli.measuring:stress", "See what a model leans on: frame, sharpness, letters, exposure.", "Model"
    ),
    "peers": Planned("cli.peers:app", "Say who may send; list, add, remove or test peers.", "Administer"),
    "retention": Planned("cli.retention:retention", "Remove pixels that the site's policies let go.", "Administer"),
    "db": Planned("cli.database:app", "Upgrade or check the ledger's schema.", "Administer"),
}


def load(name: str) -> Any:
    """Import one command and return it as Typer's command object."""
    module, _, attribute = COMMANDS[name].place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        # completion is installed for the whole command, not for one group
        found._add_completion = False  # noqa: SLF001
        command = typer.main.get_command(found)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name)(found)
        command = typer.main.get_command(single)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that knows its commands' summaries by heart and imports a command only to run it."""

    _summarising = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Name the commands in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """Return the command, or while help is printed a stand-in with its summary."""
        planned = COMMANDS.get(cmd_name)
        if planned is None:
            return None
        if self._summarising:
            return TyperCommand(cmd_name, help=planned.summary, rich_help_panel=planned.panel)
        return load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print help from the summaries."""
        self._summarising = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._summarising = False


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(),
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - Typer calls it with the flag's value
    if asked:
        typer.echo(f"lungwatch {metadata.version('lungwatch')}")
        raise typer.Exit


@app.callback()
def lungwatch(
    *,
    version: bool = typer.Option(
        False,  # noqa: FBT003
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and leave.",
    ),
) -> None:
    """Receive chest radiographs from a PACS, classify them for pneumonia, flag what needs a reader.

    A research tool, not a medical device. Settings are environment variables LUNGWATCH_… or lines of .env;
    .env.example explains each.
    """


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are explained, never thrown."""
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="lungwatch")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the edge: nothing may reach the user as a traceback
        return int(report(error))
    return int(ExitCode.FINE)


def main() -> None:
    """Entry point of the installed `lungwatch` script."""
    # what we write is about patients: nothing is for others, and a stricter umask stays
    os.umask(os.umask(_OTHERS) | _OTHERS)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
