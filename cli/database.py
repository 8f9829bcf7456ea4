"""`lungwatch db`: the ledger's schema."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.ledger import open_ledger, quiet
from cli.output import notes, print_json, say
from core.settings import load
from db.base import make_engine
from db.migrate import check
from db.migrate import upgrade as upgrade_schema

app = typer.Typer(help="Upgrade or check the ledger's schema.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def upgrade(*, as_json: AsJson = False) -> None:
    """Bring the ledger's schema to this program's version, or make a new ledger.

    One transaction: it happens wholly or not at all. Repeating it changes nothing. Back up first.
    """
    settings = load()
    quiet(settings)
    engine = make_engine(settings)
    try:
        upgrade_schema(engine)
        check(engine)
    finally:
        engine.dispose()
    if as_json:
        print_json({"schema": "current"})
    else:
        say(notes(), "The ledger's schema is current.")


@app.command("check")
def check_schema(*, as_json: AsJson = False) -> None:
    """Say whether the schema is this program's; exit code 2 where it is not."""
    with open_ledger():
        pass
    if as_json:
        print_json({"schema": "current"})
    else:
        say(notes(), "The ledger's schema is current.")
