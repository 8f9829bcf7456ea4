"""`lungwatch trace`: one study's whole story."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import typer
from rich.console import Console

from cli.ledger import open_ledger
from cli.output import console, facts, likelihood, notes, print_json, printable, say, shown, table
from core.errors import ExitCode
from db.story import ImageStory, ReceiptStory, StudyStory
from db.story import trace as query_trace

_PREDICTION: Final = (
    "Classified",
    "Model",
    "Runtime",
    "Outcome",
    "Score",
    "Score threshold",
    "Probability",
    "Prevalence",
    "Input",
)


def trace(
    term: Annotated[
        str, typer.Argument(metavar="ACCESSION-OR-UID", help="Accession number, study UID or SOP instance UID.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of studies.")] = False,
) -> None:
    """Tell one study's whole story: what came, what was made of it, by which model, and what was said.

    Exit code 1 where nothing of that name is known.
    """
    with open_ledger() as ledger, ledger.read() as session:
        stories = query_trace(session, term)
    if as_json:
        print_json(stories)
    elif stories:
        for story in stories:
            _tell(console(), story)
    else:
        # the term is not repeated: it is an identifier, and this line may reach a log
        say(notes(), "Nothing of that name is known. An accession number, a study UID or a SOP instance UID?")
    raise typer.Exit(ExitCode.FINE if stories else ExitCode.FINDING)


def _tell(out: Console, story: StudyStory) -> None:
    settled = "not settled yet" if story.settled_at is None else f"settled {shown(story.settled_at)}"
    out.print(f"Study {printable(story.study_uid)}", style="bold")
    out.print(
        facts(
            [
                ("Accession number", story.accession_number),
                ("Patient ID", story.patient_id),
                ("Study date", story.study_date),
                ("Outcome", f"{story.outcome.value}, revision {story.revision}, {settled}"),
                ("Received", f"{shown(story.first_received_at)} to {shown(story.last_received_at)}"),
            ]
        )
    )
    out.print("\nWhat came", style="bold")
    out.print(
        table(
            ("Receipt", "Received", "From", "Bytes", "Became", "Reason", "Starts", "Finished", "After", "Image"),
            [
                (
                    receipt.receipt_id,
                    receipt.received_at,
                    receipt.peer,
                    receipt.size,
                    receipt.state,
                    receipt.reason if receipt.detail is None else f"{receipt.reason}: {receipt.detail}",
                    receipt.attempts,
                    receipt.finished_at,
                    _after(receipt),
                    receipt.image_id,
                )
                for receipt in story.receipts
            ],
        )
    )
    for receipt in story.receipts:
        out.print(f"  {receipt.receipt_id}: {receipt.entry}")
        if receipt.removal_policy is not None:
            out.print(f"     its file {_gone(receipt.removed_at)} by policy {printable(receipt.removal_policy)}")
        for retry in receipt.retries:
            out.print(f"     put back {shown(retry.retried_at)} after {shown(retry.reason)}, {retry.attempts} starts")
    for image in story.images:
        _tell_image(out, image)
    if story.flags:
        out.print("\nFlags", style="bold")
        out.print(
            table(
                ("Flag", "Image", "Revision", "Reason", "Raised", "Answered", "Cleared"),
                [
                    (f.kind, f.image_id, f.study_revision, f.reason, f.raised_at, f.answered_at, f.cleared_at)
                    for f in story.flags
                ],
            )
        )
    if story.revisions:
        out.print("\nSettled revisions", style="bold")
        rows = [(one.revision, one.outcome, one.images, one.settled_at) for one in story.revisions]
        out.print(table(("Revision", "Outcome", "Images", "Settled"), rows))
    if story.verdicts:
        out.print("\nVerdicts", style="bold")
        rows_of_verdicts = [
            (one.read_at, one.reader, one.verdict, one.revision, not one.model_visible, one.stands, one.comment)
            for one in story.verdicts
        ]
        out.print(table(("Read", "Reader", "Verdict", "Revision", "Blind", "Stands", "Comment"), rows_of_verdicts))
    out.print()


def _after(receipt: ReceiptStory) -> str | None:
    """Return how long after it was received a receipt came to its end; how long each stage took is in the log."""
    if receipt.finished_at is None:
        return None
    return f"{(receipt.finished_at - receipt.received_at).total_seconds():.1f} s"


def _gone(removed_at: datetime | None) -> str:
    return "is being removed" if removed_at is None else f"was removed {shown(removed_at)}"


def _master(image: ImageStory) -> str | None:
    if image.master_gone is None:
        return image.master_digest
    return f"{image.master_digest}, {_gone(image.master_gone.removed_at)} by policy {image.master_gone.policy}"


def _tell_image(out: Console, image: ImageStory) -> None:
    size = f", {image.columns} x {image.rows}" if image.rows else ""
    out.print(f"\nImage {image.image_id}", style="bold")
    out.print(
        facts(
            [
                ("SOP instance", image.sop_instance_uid),
                ("Kind", f"{shown(image.modality)}, {shown(image.body_part)}, view {shown(image.view)}{size}"),
                ("Transfer syntax", image.transfer_syntax_uid),
                ("Outcome", f"{image.outcome.value}, revision {image.revision}"),
                ("Reason", image.reason),
                ("Remarks", image.annotations),
                ("Master", _master(image)),
            ]
        )
    )
    if image.predictions:
        rows = [
            (
                one.created_at,
                one.model,
                one.runtime,
                f"{one.outcome.value}, beside" if one.beside else one.outcome,
                one.score,
                one.threshold,
                likelihood(one.probability),
                one.prevalence,
                one.input_digest[:12],
            )
            for one in image.predictions
        ]
        out.print(table(_PREDICTION, rows))
