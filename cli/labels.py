"""`lungwatch labels`: what images are said to be, and from what."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Final

import typer

from cli.ledger import open_ledger
from cli.output import console, notes, print_csv, print_json, say, table
from db.label_evidence import evidence
from db.labels import Changes, LabelRow, plan, record
from db.labels import labels as query_labels
from db.vocabulary import LabelOrigin
from training.labels.derive import Derivation, digests, patient_key
from training.labels.derive import derive as derive_labels

app = typer.Typer(help="Make labels from verdicts; list labels and what they come from.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLUMNS: Final = ("Label", "Made", "Picture", "Patient", "Says", "Subgroup", "Version", "From")
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Derived:
    """What deriving did, or would do."""

    dry_run: bool
    studies: int
    without: dict[str, int]
    changes: Changes


@app.command()
def derive(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let labels follow the verdicts that stand: new ones are versions, and what no verdict says any more is withdrawn.

    Deriving again changes nothing; do it when verdicts have come in.
    """
    with open_ledger() as ledger, ledger.read() if dry_run else ledger.write() as session:
        key = patient_key(ledger.settings, session, dry_run=dry_run)
        derived = derive_labels(evidence(session), digests(key))
        changes = plan(session, derived.wanted) if dry_run else record(session, derived.wanted)
        if not dry_run:
            session.commit()
    done = Derived(dry_run, derived.studies, {reason.value: n for reason, n in derived.without.items()}, changes)
    if as_json:
        print_json(done)
    else:
        _tell(derived, changes, dry_run=dry_run)


@app.command("list")
def list_labels(
    *,
    origin: Annotated[
        LabelOrigin | None, typer.Option("--origin", case_sensitive=False, help="Only those made from this.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 for all.")] = 100,
    after: Annotated[int | None, typer.Option("--after", help="Go on after this label.")] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List labels in force, those made last first, with the verdicts or the data set they come from."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    with open_ledger() as ledger, ledger.read() as session:
        rows = query_labels(session, origin=origin, limit=limit or None, after_id=after)
    if as_json:
        print_json(rows)
    elif as_csv:
        names = [field.name for field in fields(LabelRow)]
        print_csv(names, ([getattr(row, name) for name in names] for row in rows))
    elif rows:
        console().print(table(_COLUMNS, (_cells(row) for row in rows)))
    else:
        say(notes(), "No labels.")


def _cells(row: LabelRow) -> tuple[object, ...]:
    source = row.data_set if row.data_set is not None else f"verdicts {' '.join(map(str, row.verdict_ids))}"
    picture = row.master_digest[:_DIGITS]
    return row.label_id, row.made_at, picture, row.patient_digest, row.label, row.subgroup, row.version, source


def _tell(derived: Derivation, changes: Changes, *, dry_run: bool) -> None:
    given = derived.studies - sum(derived.without.values())
    say(notes(), f"{derived.studies} studies were read; {given} of them give labels.")
    if derived.without:
        console().print(table(("No label because", "Studies"), derived.without.items()))
    would = "would be " if dry_run else ""
    say(
        notes(),
        f"{changes.first} {would}new, {changes.changed} {would}changed, {changes.rebased} the same from others, "
        f"{changes.withdrawn} {would}withdrawn, {changes.unchanged} as before.",
    )
