"""`lungwatch data`: look at a data set, and register it in the ledger."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.output import console, notes, print_json, printable, say, shown, table
from core.errors import ExitCode, Misconfigured, TransientFailure
from core.settings import Settings
from core.settings import load as load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from db.datasets import Plan as Planned
    from training.datasets.dataset import Dataset
    from training.datasets.importing import Prepared
    from training.exploration.explore import Exploration

_LONGEST_WORDS: Final = 255

app = typer.Typer(help="Look at a data set; register it with labels and patient split.", no_args_is_help=True)

Location = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="Folder or zip: the published layout, a folder per class, or DICOM files with a CSV of labels.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _short(value: str | None) -> str | None:
    if value is not None and (not value.strip() or len(value) > _LONGEST_WORDS or not value.isprintable()):
        raise typer.BadParameter(f"1 to {_LONGEST_WORDS} printable characters")
    return value


@app.command("explore")
def explore_data(
    dataset: Location,
    *,
    out: Annotated[
        Path | None, typer.Option(help="The HTML page to write; else <dataset>.html here, and none with --json.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose preprocessing the samples show; else the champion, or the starter.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Images of each class to show.", min=0, max=200)] = 12,
    as_json: AsJson = False,
) -> None:
    """Show what a data set holds and what is wrong with it: counts, sizes, grey levels, duplicates, patients.

    Writes a page with charts and samples before and after preprocessing. Changes nothing in the ledger.

    Exit codes: 0 it can be trained on; 1 something must be put right before; 2 wrong command line, settings or data;
    3 the disk failed.
    """
    settings = load_settings()
    if out is None and not as_json:
        out = Path(f"{dataset.absolute().name.removesuffix('.zip')}.html")
    # where a link leads, which stays one
    target = None if out is None else out.resolve()
    if target is not None and target.exists() and not target.is_file():
        raise Misconfigured(f"{out} is no file that a page could replace; name another one with --out")
    from cli import model_choice  # noqa: PLC0415 - --help must answer at once
    from core.files import write_durably  # noqa: PLC0415 - likewise
    from imaging.spec import PreprocessSpec  # noqa: PLC0415 - likewise
    from training.datasets.dataset import open_dataset  # noqa: PLC0415 - likewise
    from training.datasets.decoding import site_rules  # noqa: PLC0415 - likewise
    from training.exploration.explore import explore  # noqa: PLC0415 - likewise
    from training.exploration.page import page  # noqa: PLC0415 - likewise

    with open_dataset(dataset, site_rules(settings), whole_patients=False) as opened:
        manifest = model_choice.find(settings, model or model_choice.champion_or_starter(settings)).manifest
        with _bar("look at images", len(opened.items)) as advance:
            found = explore(opened, PreprocessSpec.from_dict(manifest.preprocess), samples, advance)
    if target is not None:
        write_durably(target, page(found, manifest.title).encode())
        say(notes(), f"{out} has charts and samples")
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)
    if not found.usable:
        raise typer.Exit(int(ExitCode.FINDING))


@app.command("import")
def import_data(
    dataset: Location,
    *,
    name: Annotated[
        str | None, typer.Option(help="What it is called in the ledger; else its folder's name.", callback=_short)
    ] = None,
    origin: Annotated[
        str | None, typer.Option(help="Where it came from, and under which licence.", callback=_short)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    one_class: Annotated[bool, typer.Option("--one-class", help="Take a data set of a single class.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register a data set in the ledger: images, labels, patients, origin and split; keep its master images.

    Everything is read first, then entered in one transaction. Importing again changes nothing; a label that has
    changed becomes a new version. Patients are kept as keyed digests.

    Exit codes: 0 registered, or registered before; 2 wrong command line, settings or data; 3 database or disk failed.
    """
    from cli.ledger import open_ledger  # noqa: PLC0415 - --help must answer at once
    from db.datasets import NewDataSet, Plan, find, masters_of, plan, record  # noqa: PLC0415 - likewise
    from db.vocabulary import DataLayout  # noqa: PLC0415 - likewise
    from imaging.master import master_digest, master_path  # noqa: PLC0415 - likewise
    from training.datasets.dataset import open_dataset  # noqa: PLC0415 - likewise
    from training.datasets.decoding import site_rules  # noqa: PLC0415 - likewise
    from training.datasets.importing import content_digest, prepare, restore  # noqa: PLC0415 - likewise

    with open_ledger() as ledger, open_dataset(dataset, site_rules(ledger.settings)) as opened:
        if not one_class:
            opened.require_classes()
        keep = _keeper(ledger.settings)
        called = name or dataset.absolute().name.removesuffix(".zip")
        with _bar("read files", len(opened.items)) as advance:
            digest = content_digest(opened, advance)
        new = NewDataSet(called, digest, DataLayout(opened.layout.value), origin or f"imported from {dataset.name}")
        with ledger.read() as session:
            before = find(session, digest)
            kept = {} if before is None else masters_of(session, before.id)
        if before is not None:
            masters = ledger.settings.masters
            made = 0 if dry_run else restore(opened, kept, lambda known: master_path(masters, known).exists(), keep)
            result = _result(
                before.name, digest, opened, None, Plan(before.imported_at, before.version), dry_run=dry_run
            )
            _report({**result, "masters_made_again": made}, as_json=as_json)
            return
        with _bar("make master images", len(opened.items)) as advance:
            prepared = prepare(opened, master_digest if dry_run else keep, advance)
        if dry_run:
            with ledger.read() as session:
                done = plan(session, new, prepared.entries)
        else:
            with ledger.write.begin() as session:
                done = record(session, new, prepared.entries)
        _report(_result(new.name, digest, opened, prepared, done, dry_run=dry_run), as_json=as_json)


def _keeper(settings: Settings) -> Callable[[NDArray[np.uint16]], str]:
    """Return what keeps a master, unless the disk is so full that the listener would begin to refuse studies."""
    from cli.data_directory import prepare_data  # noqa: PLC0415 - --help must answer at once
    from imaging.master import save_master  # noqa: PLC0415 - likewise

    prepare_data(settings)

    def keep(master: NDArray[np.uint16]) -> str:
        usage = shutil.disk_usage(settings.data_dir)
        if usage.free < max(settings.free_space_bytes, settings.free_space_fraction * usage.total):
            message = (
                f"the disk of {settings.data_dir.absolute()} has less free space than the listener needs to take "
                "studies (LUNGWATCH_FREE_SPACE_BYTES, LUNGWATCH_FREE_SPACE_FRACTION); nothing was registered"
            )
            raise TransientFailure(message)
        return save_master(settings.masters, master)

    return keep


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    out = notes()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _show(found: Exploration) -> None:
    out = console()
    patients, copies = found.patients, found.copies
    say(out, f"{found.name}: {found.images} images, layout {found.layout.value}")
    say(
        out,
        f"{patients.grouped} patients; {patients.told_apart} if bacterial and viral series are told apart. "
        f"{copies.groups} groups of byte-identical files, {copies.groups_of_pixels} of identical pixels.",
    )
    labels = list(next(iter(found.counts.values())))
    out.print(table(("split", *labels), ((split, *counts.values()) for split, counts in found.counts.items())))
    rows = ((use, *counts.values(), found.use_patients.get(use)) for use, counts in found.uses.items())
    out.print(table(("use", *labels, "patients"), rows))
    rows_of_measures = (
        (
            name.replace("_", " "),
            *(
                f"{by[label].low:.4g} {by[label].median:.4g} {by[label].high:.4g}" if label in by else ""
                for label in labels
            ),
            found.separations.get(name),
        )
        for name, by in found.spreads.items()
    )
    out.print(table(("measure", *(f"{label} 5 50 95 %" for label in labels), "AUC alone"), rows_of_measures))
    for problem in found.problems:
        say(out, f"{problem.kind.value}: {printable(problem.said)}")


def _result(
    name: str, digest: str, dataset: Dataset, prepared: Prepared | None, done: Planned, *, dry_run: bool
) -> dict[str, Any]:
    """Return what ``--json`` prints; `prepared` is None where this content was registered before."""
    return {
        "name": name,
        "version": done.version,
        "digest": digest,
        "layout": dataset.layout,
        "dry_run": dry_run,
        "imported_before": done.imported_before,
        "images": len(dataset.items),
        "ignored": len(dataset.ignored),
        "patients": len({item.patient for item in dataset.items}),
        "new_images": done.new_images,
        "new_labels": done.new_labels,
        "changed_labels": done.changed,
        "uses": {}
        if prepared is None
        else dict(sorted(Counter(entry.use.value for entry in prepared.entries).items())),
        "dropped": [] if prepared is None else [item.path for item in prepared.dropped],
        "masters_made_again": 0,
    }


def _report(result: dict[str, Any], *, as_json: bool) -> None:
    out = console()
    if as_json:
        print_json(result)
    elif result["imported_before"] is not None:
        again = f"; {result['masters_made_again']} master images that were gone are made again"
        say(
            out,
            f"registered before, as {printable(result['name'])} version {result['version']} on "
            f"{shown(result['imported_before'])}; nothing changed{again if result['masters_made_again'] else ''}",
        )
    else:
        _report_new(result)


def _report_new(result: dict[str, Any]) -> None:
    out = console()
    verb = "would be" if result["dry_run"] else "is"
    say(
        out,
        f"{printable(result['name'])} {verb} registered as version {result['version']}: {result['images']} images of "
        f"{result['patients']} patients; {result['new_images']} new images, {result['new_labels']} new labels, "
        f"{len(result['changed_labels'])} changed labels, {len(result['dropped'])} dropped as copies of pictures that "
        f"are held out, {result['ignored']} files ignored",
    )
    out.print(table(("use", "images"), result["uses"].items()))
    if result["changed_labels"]:
        rows = (
            (change.key, change.old, change.old_subgroup, change.new, change.new_subgroup)
            for change in result["changed_labels"]
        )
        out.print(table(("changed", "was", "", "is", ""), rows))
    for path in result["dropped"]:
        say(out, f"dropped: {printable(path)}")
