"""`lungwatch demo`: starts `serve`, sends studies over DIMSE, accounts for each, leaves a picture."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy.orm import Session, sessionmaker

from cli.demo import report, sheet
from cli.demo.account import accounts, surplus
from cli.demo.ending import Ending
from cli.demo.own_data import find, own_sendings
from cli.demo.sending import Sending
from cli.demo.server import Server, reconcile, served
from cli.demo.studies import SCENARIOS, phantom_sendings
from cli.demo.watch import Watch
from cli.output import notes, print_json
from core.errors import ExitCode
from core.settings import Settings
from db.base import make_engine, make_readers

_PATIENCE: Final = 45.0
_LIMIT: Final = 40
_PICTURE: Final = Path("demo/contact-sheet.png")


def demo(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="Send these instead of phantoms: DICOM files, JPEG or PNG pictures, folders, zips."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Send at most so many of --data, spread evenly.")
    ] = _LIMIT,
    out: Annotated[Path, typer.Option("--out", help="Where the contact sheet goes (PNG).")] = _PICTURE,
    seed: Annotated[str, typer.Option("--seed", help="Decides the UIDs of what is computed.")] = "demo",
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the scratch folder: spool, ledger, log.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Send studies through a whole Lungwatch of its own and account for each.

    Starts serve in a scratch folder on a free port, with settings of its own: nothing of yours is touched.
    Without --data it sends computed phantoms, odd ones among them: a lateral view, a hand, an adult, a corrupt one,
    one sent twice, one whose pixels conflict. Phantoms are no patients: their scores say nothing of the model.
    Leaves with 0 if every instance was acknowledged and disposed of as expected, else with 1 and says which was not.
    """
    started = time.monotonic()
    sources = find(data, limit) if data else None
    ending = Ending()
    # ended from outside, as by `timeout` or a closed terminal, it must not leave a server behind
    with ending.heeded(), _scratch(keep=keep) as scratch:
        files = scratch / "sent"
        files.mkdir()
        total = len(sources) if sources else len(SCENARIOS)
        prepared = nullcontext(own_sendings(sources, files, seed)) if sources else phantom_sendings(files, seed)
        with prepared as sendings:
            summary = _run(scratch, ending, sendings, total, started)
        title = f"lungwatch demo: {total} {'files' if sources else 'phantom studies, which show nobody'}"
        sheet.save(sheet.draw(summary.accounts, scratch / "data" / "masters", title), out)
        if json:
            print_json(report.as_data(summary, out))
        else:
            _print(summary, out, phantoms=sources is None)
        if keep or not summary.clean:
            notes().print(f"Left for you to look at: {scratch}  (serve.log, data/, sent/)")
            keep_folder(scratch)
    raise typer.Exit(ExitCode.FINE if summary.clean else ExitCode.FINDING)


def _run(scratch: Path, ending: Ending, sendings: Iterable[Sending], total: int, started: float) -> report.Summary:
    with served(scratch, ending) as server, _readers(server) as sessions:
        ready = time.monotonic()
        watch = Watch(server, sessions, total, _PATIENCE, notes())
        sent = watch.run(sendings)
        found = accounts(sessions, sent)
        extra = surplus(sessions, sent)
        stopped = server.stop()
        clean, said = reconcile(server.data)
    return report.Summary(
        accounts=found,
        surplus=extra,
        serve_exit=stopped,
        reconciled=clean,
        reconcile_said=said,
        seconds_to_listen=ready - started,
        seconds=time.monotonic() - started,
    )


def _print(summary: report.Summary, picture: Path, *, phantoms: bool) -> None:
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        # a file has no width; eighty columns would fold every cell
        console.width = 170
    console.print(report.as_table(summary))
    for line in report.closing(summary, picture, phantoms=phantoms):
        console.print(Text(line), soft_wrap=True)


@contextmanager
def _readers(server: Server) -> Iterator[sessionmaker[Session]]:
    # model_construct: neither the user's environment nor a .env may decide whose ledger this is
    settings = Settings.model_construct(data_dir=server.data, database_url=None, database_password_file=None)
    engine = make_engine(settings)
    try:
        yield make_readers(engine)
    finally:
        engine.dispose()


_KEEP: Final = ".keep"


def keep_folder(scratch: Path) -> None:
    """Mark a scratch folder as one to leave."""
    (scratch / _KEEP).touch()


@contextmanager
def _scratch(*, keep: bool) -> Iterator[Path]:
    """Make a folder, and remove it unless it was marked or something went wrong."""
    scratch = Path(tempfile.mkdtemp(prefix="lungwatch-demo-"))
    try:
        yield scratch
    except BaseException:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)
        raise
    if not (scratch / _KEEP).exists():
        shutil.rmtree(scratch, ignore_errors=True)
