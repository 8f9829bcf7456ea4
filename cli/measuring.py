"""`lungwatch evaluate` and `lungwatch stress`: measure models, and see what they lean on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import model_choice
from cli.output import console, interval, notes, print_json, printable, say, table
from cli.training import bars, figures_table
from core import logging
from core.settings import load as load_settings
from training.examination.evaluate import Evaluation
from training.examination.part import Part

if TYPE_CHECKING:
    from training.examination.part import Chosen
    from training.examination.spread import Spread
    from training.examination.stress_table import StressTable
    from training.familiarity.noticing import Measured

_OF_SUBGROUPS: Final = ("auc", "sensitivity", "specificity")


def evaluate(
    *,
    data: Annotated[
        Path | None, typer.Option(help="Folder or zip of the published layout, also one with only test/.")
    ] = None,
    split: Annotated[
        Part, typer.Option(help="test: the published test/ if there is one, else our frozen test share.")
    ] = Part.TEST,
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"{model_choice.HELP} Else the champion, or the starter. Several: also their spread."),
    ] = None,
    sealed: Annotated[
        bool,
        typer.Option("--sealed", help="Open the sealed share of the site's test set, once a quarter; see docs."),
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is opened; goes into the ledger.")] = None,
    unfamiliar: Annotated[
        bool, typer.Option("--unfamiliar", help="Also count what is called unfamiliar: these images, and other things.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model on a data set, with 95 % intervals by patient.

    Through the same pixels and runtime as the worker, at the operating point stored in the bundle.

    Exit codes: 0 measured; 1 the sealed share stays closed; 2 wrong command line, settings, data or bundle, with what
    to do.
    """
    if sealed:
        _evaluate_sealed(data, model, reason, unfamiliar=unfamiliar, as_json=as_json)
        return
    if data is None or reason is not None:
        raise typer.BadParameter("say --data, or --sealed with a --reason")
    settings = load_settings()
    logging.configure(settings)
    from training.datasets.dataset import open_dataset  # noqa: PLC0415 - --help must answer at once
    from training.datasets.decoding import site_rules  # noqa: PLC0415 - likewise
    from training.examination.evaluate import evaluate as measure  # noqa: PLC0415 - likewise
    from training.examination.part import choose  # noqa: PLC0415 - likewise
    from training.examination.spread import spread, to_dict  # noqa: PLC0415 - likewise
    from training.familiarity.noticing import measure as measure_unfamiliar  # noqa: PLC0415 - likewise

    rules = site_rules(settings)
    with open_dataset(data, rules):
        pass  # a wrong path is said before a model is loaded
    loaded = [model_choice.load(settings, name) for name in model or [model_choice.champion_or_starter(settings)]]
    all_found, strange = [], []
    with bars() as shown, choose(data, split, rules, shown.stage) as chosen:
        _tell_of_share(chosen)
        for one, fitted in loaded:
            # first: a bundle that cannot is refused before minutes are spent
            strange += [measure_unfamiliar(one, chosen, shown.stage)] if unfamiliar else []
            found = measure(one, fitted, chosen, shown.stage("read and score", len(chosen.items)))
            all_found.append(found)
            warn_of_overlap(found.manifest.title, found.patients_fitted_on, found.patients)
    if as_json:
        told = [found.to_dict() for found in all_found]
        for one_told, noticed in zip(told, strange, strict=False):
            one_told["unfamiliar"] = noticed.to_dict()
        print_json(told[0] if len(told) == 1 else {**to_dict(all_found), "models": told})
        return
    for found in all_found:
        _show(found)
    for found, noticed in zip(all_found, strange, strict=False):
        _show_unfamiliar(found.manifest.title, noticed)
    if len(all_found) > 1:
        _show_spread(all_found, spread(all_found))


def _evaluate_sealed(
    data: Path | None, model: list[str] | None, reason: str | None, *, unfamiliar: bool, as_json: bool
) -> None:
    if data is not None or unfamiliar or len(model or ()) > 1:
        raise typer.BadParameter("--sealed goes with one --model, and neither with --data nor --unfamiliar")
    if reason is None:
        raise typer.BadParameter("--sealed needs a --reason: it is opened once a quarter, and counted")
    from cli.sealed import evaluate_sealed  # noqa: PLC0415 - --help must answer at once

    opened = evaluate_sealed((model or [model_choice.CHAMPION])[0], reason)
    found = opened.evaluation
    warn_of_overlap(found.manifest.title, found.patients_fitted_on, found.patients)
    if as_json:
        print_json(opened.to_dict())
        return
    _show(found)
    if opened.pixels_gone:
        say(notes(), f"{opened.pixels_gone} images of the sealed share could not be scored: their masters are gone")
    say(notes(), f"Opened {opened.times} times by now; it stays closed until {opened.closed_until:%Y-%m-%d %H:%M} UTC.")


def stress(
    *,
    data: Annotated[Path, typer.Option(help="Folder or zip of the published layout, also one with only test/.")],
    split: Annotated[
        Part, typer.Option(help="test: the published test/ if there is one, else our frozen test share.")
    ] = Part.TEST,
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"{model_choice.HELP} Else the champion, or the starter. Several stand side by side."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write stress.md and stress.json into.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score images changed in ways that should not matter: frame, sharpness, compression, exposure, letters, position.

    Each model at its own operating point, with 95 % intervals by patient.

    Exit codes: 0 measured; 2 wrong command line, settings, data or bundle, with what to do; 3 the disk failed.
    """
    settings = load_settings()
    logging.configure(settings)
    from core.files import write_durably  # noqa: PLC0415 - --help must answer at once
    from training.datasets.dataset import open_dataset  # noqa: PLC0415 - likewise
    from training.datasets.decoding import site_rules  # noqa: PLC0415 - likewise
    from training.examination.part import choose  # noqa: PLC0415 - likewise
    from training.examination.stress_table import REPORTS, stress_table  # noqa: PLC0415 - likewise

    rules = site_rules(settings)
    with open_dataset(data, rules):
        pass  # a wrong path is said before a model is loaded
    loaded = [model_choice.load(settings, name) for name in model or [model_choice.champion_or_starter(settings)]]
    with bars() as shown, choose(data, split, rules, shown.stage) as chosen:
        _tell_of_share(chosen)
        found = stress_table(loaded, chosen, shown.stage)
    for one in found.models:
        warn_of_overlap(one.manifest.title, one.patients_fitted_on, found.patients)
    if out is not None:
        for name, render in REPORTS.items():
            write_durably(out / name, render(found).encode())
        notes().print(f"{' and '.join(REPORTS)} are in {out}", soft_wrap=True)
    if as_json:
        print_json(found.to_dict())
    else:
        _show_stress(found)


def _tell_of_share(chosen: Chosen) -> None:
    if chosen.own_share:
        say(
            notes(),
            f"{printable(chosen.name)} has no test/: scored are {len(chosen.items)} of its {len(chosen.dataset.items)} "
            "images, our frozen share of the patients; --split all scores every image",
        )


def warn_of_overlap(title: str, known: int, patients: int) -> None:
    """Say where a model is measured on patients it has seen."""
    if known:
        say(notes(), f"{known} of these {patients} patients shaped {title}: the figures flatter it")


def _show(found: Evaluation) -> None:
    console().print(
        f"{found.manifest.title} on {found.data}, split {found.split}: {found.n} images "
        f"({found.counts['NORMAL']} normal, {found.counts['PNEUMONIA']} pneumonia) of {found.patients} patients; "
        f"score threshold {found.manifest.operating_point.threshold:.6g}"
    )
    console().print(figures_table({**found.metrics, **found.calibration}, "all"))
    worth = [
        (f"{values.prevalence:.0%}", interval(values.ppv), interval(values.npv)) for values in found.predictive_values
    ]
    console().print(
        table(
            ("prevalence", "positive predictive value", "negative predictive value"), worth, "where pneumonia is rarer"
        )
    )
    groups = [
        (
            name,
            group.n,
            group.normal,
            group.pneumonia,
            group.patients,
            *(interval(group.metrics.get(figure)) for figure in _OF_SUBGROUPS),
            "few patients" if group.few else "",
        )
        for name, group in found.subgroups.items()
    ]
    if groups:
        columns = ("subgroup", "images", "normal", "pneumonia", "patients", *_OF_SUBGROUPS, "")
        console().print(table(columns, groups, "subgroups; a kind of pneumonia against all normals"))


def _show_unfamiliar(title: str, found: Measured) -> None:
    console().print(
        f"{title} calls {interval(found.false_alarms)} of these {found.n} images unfamiliar, and of pictures of other "
        "things:"
    )
    rows = [(name, one.n, one.sources, one.unfamiliar / one.n) for name, one in found.noticed.items()]
    console().print(table(("pictures", "n", "parts of", "unfamiliar"), rows, "unfamiliar"))


def _show_spread(evaluations: list[Evaluation], found: dict[str, Spread | None]) -> None:
    titles = [f"{number}: {one.manifest.title}" for number, one in enumerate(evaluations, 1)]
    rows = [
        (
            name.replace("_", " "),
            *({**one.metrics, **one.calibration}[name].value for one in evaluations),
            *((None,) * 4 if over is None else (over.lowest, over.mean, over.highest, over.deviation)),
        )
        for name, over in found.items()
    ]
    columns = ("figure", *titles, "lowest", "mean", "highest", "standard deviation")
    console().print(table(columns, rows, "each at its own operating point"))


def _show_stress(found: StressTable) -> None:
    console().print(
        f"{found.data}, split {found.split.value}: {found.counts['NORMAL']} normal, {found.counts['PNEUMONIA']} "
        f"pneumonia images of {found.patients} patients"
    )
    for one in found.models:
        rows = [
            (
                row.name,
                *(interval(part) for part in (row.auc, row.auc_change, row.sensitivity, row.specificity)),
                row.moved,
            )
            for row in one.rows
        ]
        columns = ("distortion", "AUC", "change of AUC", "sensitivity", "specificity", "log-odds moved")
        title = f"{one.manifest.title}, score threshold {one.manifest.operating_point.threshold:.6g}"
        console().print(table(columns, rows, title))
