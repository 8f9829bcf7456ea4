"""`lungwatch testset`: the frozen test set that models are judged on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from sqlalchemy.orm import Session

from cli.ledger import open_ledger
from cli.output import console, facts, notes, print_json, say, table
from cli.reason import reason_text
from cli.verdicts_import import account
from core.errors import LungwatchError
from db.evaluations import openings
from db.models.learning import TestSet
from db.test_sets import Frozen, find, frozen, versions
from db.vocabulary import ImageClass, Share
from training.nightly.gate.paired import fewest
from training.nightly.snapshot.freezing import Frozen as Next
from training.nightly.snapshot.freezing import Plan
from training.nightly.snapshot.freezing import freeze as freeze_next

app = typer.Typer(
    help="Freeze the test set that models are judged on; list its versions and what they hold. Nothing is added to it "
    "but by this command.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MOST_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Size:
    """Images and patients of one share with one label; a patient with both labels counts in each."""

    share: Share
    label: ImageClass
    images: int
    patients: int


@dataclass(frozen=True, slots=True)
class Known:
    """A version of the test set."""

    version: int
    digest: str
    frozen_at: datetime
    actor: str
    reason: str
    sizes: tuple[Size, ...]


@app.command()
def freeze(
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the ledger.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the first or the next version of the test set: all of the one before, and what is held out and came since.

    Labels that changed are taken over. Nothing is let go unless its label was withdrawn or its pixels were removed. One
    in four patients belongs to the sealed share.

    Exit codes: 0 frozen, or nothing differs; 1 there is nothing to freeze; 2 wrong command line or settings.
    """
    reason = reason_text(reason)
    with open_ledger() as ledger:
        plan = freeze_next(ledger.settings, ledger.write, actor=account(), reason=reason, dry_run=dry_run)
        wanted = _wanted(ledger.settings.gate_sensitivity_margin, ledger.settings.gate_specificity_margin)
    if as_json:
        print_json(_as_data(plan, dry_run=dry_run))
    else:
        _tell(plan, wanted, dry_run=dry_run)


@app.command("list")
def list_versions(*, as_json: AsJson = False) -> None:
    """List the versions, the one in force last."""
    with open_ledger() as ledger, ledger.read() as session:
        rows = [_known(one, frozen(session, one.id)) for one in versions(session)]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ("Version", "Frozen", "By", "Reason", "Open", "Sealed")
        cells = [
            (
                row.version,
                row.frozen_at,
                row.actor,
                row.reason,
                *(sum(size.images for size in row.sizes if size.share is share) for share in Share),
            )
            for row in rows
        ]
        console().print(table(columns, cells))
    else:
        say(notes(), "No test set yet; lungwatch testset freeze makes one.")


@app.command()
def show(
    version: Annotated[int | None, typer.Argument(help="Which; else the one in force.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a version: how many images and patients; with --json, each image too.

    Exit codes: 0 shown; 1 no such version; 2 wrong command line or settings.
    """
    with open_ledger() as ledger, ledger.read() as session:
        found = _found(session, version)
        images = frozen(session, found.id)
        opened = openings(session)
    known = _known(found, images)
    if as_json:
        print_json({"test_set": known, "images": images, "sealed_opened": opened})
        return
    console().print(
        facts(
            [
                ("Version", known.version),
                ("Digest", known.digest),
                ("Frozen", known.frozen_at),
                ("By", known.actor),
                ("Reason", known.reason),
                ("Sealed share opened", opened or "never"),
            ]
        )
    )
    _show_sizes(known.sizes)


def _found(session: Session, version: int | None) -> TestSet:
    found = find(session, version)
    if found is None:
        what = "no test set yet" if version is None else f"no version {version} of the test set"
        raise LungwatchError(f"there is {what}; see lungwatch testset list")
    return found


def _known(one: TestSet, images: Iterable[Frozen]) -> Known:
    sizes = _sizes((image.share, image.label, image.patient_digest) for image in images)
    return Known(one.version, one.digest, one.frozen_at, one.actor, one.reason, sizes)


def _sizes(images: Iterable[tuple[Share, ImageClass, str]]) -> tuple[Size, ...]:
    counts: Counter[tuple[Share, ImageClass]] = Counter()
    patients: dict[tuple[Share, ImageClass], set[str]] = {}
    for share, label, patient in images:
        counts[share, label] += 1
        patients.setdefault((share, label), set()).add(patient)
    return tuple(
        Size(share, label, counts[share, label], len(patients.get((share, label), ())))
        for share in Share
        for label in ImageClass
    )


def _sizes_of(plan: Plan) -> tuple[Size, ...]:
    return _sizes((one.share, one.said.label, one.picture.patient_digest) for one in plan.images)


def _wanted(sensitivity_margin: float, specificity_margin: float) -> dict[ImageClass, int]:
    """Return how many patients of each class the gate needs at the least."""
    return {ImageClass.PNEUMONIA: fewest(sensitivity_margin), ImageClass.NORMAL: fewest(specificity_margin)}


def _as_data(plan: Plan, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "frozen": plan.changes and not dry_run,
        "version": plan.version if plan.changes else plan.version - 1,
        "sizes": _sizes_of(plan),
        "added": [_row(one) for one in plan.added],
        "relabelled": [{**_row(one), "before": one.picture.label} for one in plan.relabelled],
        "removed": [{"labelled_image_id": picture.labelled_image_id, "lost": why} for picture, why in plan.removed],
        "missing": plan.missing,
    }


def _row(one: Next) -> dict[str, Any]:
    return {
        "labelled_image_id": one.picture.labelled_image_id,
        "share": one.share,
        "label": one.said.label,
        "subgroup": one.said.subgroup,
        "origin": one.picture.origin,
    }


def _tell(plan: Plan, wanted: dict[ImageClass, int], *, dry_run: bool) -> None:
    if not plan.changes:
        say(notes(), f"Nothing differs from version {plan.version - 1}; it stays in force.")
        return
    lists: list[tuple[str, list[tuple[object, ...]]]] = [
        ("added", [(one.picture.labelled_image_id, one.share, one.said.label, "") for one in plan.added]),
        (
            "labelled otherwise",
            [
                (one.picture.labelled_image_id, one.share, one.said.label, f"before {one.picture.label}")
                for one in plan.relabelled
            ],
        ),
        (
            "let go",
            [(picture.labelled_image_id, picture.share, picture.label, f"lost {why}") for picture, why in plan.removed],
        ),
    ]
    for title, rows in lists:
        if rows:
            more = f", {len(rows) - _MOST_SHOWN} more with --json" if len(rows) > _MOST_SHOWN else ""
            console().print(
                table(("Image", "Share", "Label", ""), rows[:_MOST_SHOWN], f"{title}: {len(rows)} images{more}")
            )
    sizes = _sizes_of(plan)
    _show_sizes(sizes)
    if plan.missing:
        say(notes(), f"The masters of {plan.missing} images are not there, and nobody removed them: put them back.")
    for size in sizes:
        if size.share is Share.TEST and size.patients < wanted[size.label]:
            say(
                notes(),
                f"Open patients labelled {size.label}: {size.patients}. With fewer than {wanted[size.label]} the gate "
                "tells nothing, and no model is promoted.",
            )
    would = "would be" if dry_run else "is"
    say(notes(), f"Version {plan.version} {would} frozen.")


def _show_sizes(sizes: Iterable[Size]) -> None:
    rows = [(size.share, size.label, size.images, size.patients) for size in sizes]
    console().print(table(("Share", "Label", "Images", "Patients"), rows, "what it holds"))
