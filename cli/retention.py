"""`lungwatch retention`: remove pixels that the site's policies let go."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cli.ledger import open_ledger
from cli.output import console, facts, notes, print_json, say
from core.errors import Misconfigured
from db.retention_runs import Removed
from worker.retention.policy import Policies, Policy
from worker.retention.run import plan, run


def retention(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove stored files and master images older than the policies say, now; beat does it daily.

    LUNGWATCH_RETENTION_STORED_DAYS and LUNGWATCH_RETENTION_MASTERS_DAYS are the policies; without them all is kept.
    Only pixels go, never rows, and only of what is finished: nothing that waits for a reader, for a worker, in
    quarantine or for an answer about storage commitment. Never to make room on a full disk.
    """
    with open_ledger() as ledger:
        settings = ledger.settings
        if not settings.data_dir.is_dir():
            message = (
                f"the data directory is not on this machine: {settings.data_dir.absolute()}. Run this where it is "
                "mounted, or set LUNGWATCH_DATA_DIR."
            )
            raise Misconfigured(message)
        policies = Policies.of(settings)
        removed = plan(settings, ledger.read) if dry_run else run(settings, ledger.write)
    if as_json:
        print_json({"dry_run": dry_run, "policies": asdict(policies)} | asdict(removed))
    else:
        _show(console(), policies, removed, dry_run=dry_run)


def _show(out: Console, policies: Policies, removed: Removed, *, dry_run: bool) -> None:
    word = "Would remove" if dry_run else "Removed"
    out.print(
        facts(
            [
                ("Stored files", _kept(policies.stored)),
                (word, f"{removed.stored_files} files, {removed.stored_bytes / 1e9:.1f} GB"),
                ("Master images", _kept(policies.masters)),
                (word, f"{removed.masters} images, {removed.master_bytes / 1e9:.1f} GB"),
            ]
        )
    )
    if policies.stored is None and policies.masters is None:
        say(notes(), "No policy is set, so all is kept: LUNGWATCH_RETENTION_STORED_DAYS says how long files stay.")


def _kept(policy: Policy | None) -> str:
    return "kept for good" if policy is None else f"kept for {policy.days} days"
