"""`lungwatch models`: the registry of model versions and the bundles behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from bundle.errors import BundleRefused
from bundle.load import STARTER, STARTER_LOCATION, load_for, locate
from bundle.signing import trusted_keys
from bundle.store import verify as verify_bundle
from cli import model_choice, models_changing
from cli.ledger import has_ledger, open_ledger
from cli.output import console, facts, interval, notes, print_json, table
from core import logging
from core.errors import ExitCode
from core.settings import Settings
from core.settings import load as load_settings
from db.registry import champion
from db.registry import models as registered

app = typer.Typer(
    help="List, show, verify or register model versions; say which is in service. Who changed that and why is kept.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Known:
    """A bundle to look at: from the registry, or the starter that ships with the program.

    Attributes
    ----------
    anchor : bool
        Whether challengers are held against it; the champion where no other was named.
    """

    name: str
    version: str
    location: str
    digest: str | None
    score_threshold: float | None
    origin: str
    champion: bool = False
    anchor: bool = False
    registered_at: Any = None

    @property
    def place(self) -> str:
        """Its place among the others, in words."""
        return ", ".join(word for word, held in (("champion", self.champion), ("anchor", self.anchor)) if held)


@app.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List registered models, champion and anchor marked; in a fresh clone, the starter."""
    rows = _known(load_settings())
    if as_json:
        print_json(rows)
        return
    cells = [(row.name, row.version, row.place, row.origin, row.score_threshold, row.registered_at) for row in rows]
    console().print(table(("Name", "Version", "", "Origin", "Score threshold", "Registered"), cells))


@app.command()
def show(
    model: Annotated[str, typer.Argument(help=model_choice.HELP)] = STARTER_LOCATION, *, as_json: AsJson = False
) -> None:
    """Show a model's manifest; the bundle is verified first."""
    settings = load_settings()
    logging.configure(settings)
    found = model_choice.find(settings, model)
    manifest = found.manifest
    if as_json:
        print_json({"digest": found.digest, "directory": found.directory, "manifest": manifest.model_dump(mode="json")})
        return
    point, band, use = manifest.operating_point, manifest.uncertainty, manifest.intended_use
    rows = [
        ("Model", manifest.title),
        ("Digest", found.digest),
        ("Folder", found.directory),
        ("Made", manifest.created_at),
        ("Architecture", manifest.architecture),
        ("Preprocessing", manifest.preprocess_digest),
        ("Score threshold", f"{point.threshold:.6g} ({point.chosen_how})"),
        ("Uncertain scores", f"{band.low:.6g} to {band.high:.6g} ({band.chosen_how})"),
        ("Purpose", use.purpose),
        ("Ages", f"{use.age_days[0]} to {use.age_days[1] - 1} days"),
        ("Views", use.views),
        *(("Limit", limit) for limit in use.limits),
        ("Attribution", manifest.attribution),
    ]
    console().print(facts(rows))
    names = list(next(iter(manifest.metrics.values()), {}))
    figures = [
        (name.replace("_", " "), *(interval(found.get(name)) for found in manifest.metrics.values())) for name in names
    ]
    console().print(table(("figure", *manifest.metrics), figures, "Value (95 % interval by patient)"))
    worth = [
        (f"{values.prevalence:.0%}", part, interval(values.ppv), interval(values.npv))
        for part, found in manifest.predictive_values.items()
        for values in found
    ]
    if worth:
        columns = ("prevalence", "patients", "positive predictive value", "negative predictive value")
        console().print(table(columns, worth))


@app.command()
def verify(*, as_json: AsJson = False) -> None:
    """Verify every registered bundle and the starter: files, digests, signature, and the scores they must give.

    Exit codes: 0 all are sound; 1 at least one is refused, each with what to do; 2 wrong settings.
    """
    settings = load_settings()
    logging.configure(settings)
    trusted_keys(settings)  # a key that cannot be read is a wrong setting, not a bad bundle
    rows = [_verify(settings, known) for known in _known(settings, with_starter=True)]
    if as_json:
        print_json(rows)
    else:
        console().print(table(("Name", "Version", "Sound", "Problem"), [tuple(row.values()) for row in rows]))
    if not all(row["sound"] for row in rows):
        raise typer.Exit(int(ExitCode.FINDING))


for _command in (
    models_changing.register,
    models_changing.promote,
    models_changing.rollback,
    models_changing.anchor,
    models_changing.history,
):
    app.command()(_command)


def _verify(settings: Settings, known: Known) -> dict[str, object]:
    try:
        load_for(settings, locate(known.location, settings.bundles), known.digest)
    except BundleRefused as error:
        return {"name": known.name, "version": known.version, "sound": False, "problem": str(error)}
    return {"name": known.name, "version": known.version, "sound": True, "problem": None}


def _known(settings: Settings, *, with_starter: bool = False) -> list[Known]:
    rows = []
    if has_ledger(settings):
        with open_ledger() as ledger, ledger.read() as session:
            reign = champion(session)
            rows = [
                Known(
                    row.name,
                    row.version,
                    row.location,
                    row.bundle_digest,
                    row.threshold,
                    row.origin.value,
                    champion=reign is not None and reign.model.id == row.id,
                    anchor=reign is not None and reign.anchor_id == row.id,
                    registered_at=row.registered_at,
                )
                for row in registered(session)
            ]
    if not rows or (with_starter and all(row.location != STARTER_LOCATION for row in rows)):
        rows.append(_shipped(settings))
    return rows


def _shipped(settings: Settings) -> Known:
    try:
        bundle = verify_bundle(STARTER, None, trusted_keys(settings))
    except BundleRefused as error:
        notes().print(str(error))
        return Known(STARTER_LOCATION, "?", STARTER_LOCATION, None, None, "STARTER")
    point = bundle.manifest.operating_point
    return Known(
        bundle.manifest.name,
        bundle.manifest.version,
        STARTER_LOCATION,
        bundle.digest,
        point.threshold,
        "STARTER",
    )
