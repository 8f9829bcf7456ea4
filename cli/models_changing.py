"""`lungwatch models register`, `promote`, `rollback`, `anchor` and `history`: who is champion, by whom and why."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from sqlalchemy.orm import Session

from cli.ledger import Ledger, open_ledger
from cli.output import console, notes, print_json, say, table
from cli.reason import reason_text
from cli.verdicts_import import account
from core.errors import LungwatchError, Misconfigured
from db.champion_history import history as changes
from db.champion_history import one_before
from db.models.model import ModelVersion
from db.registry import Reign, champion, models, name_anchor
from db.rescoring import queue
from db.vocabulary import ChangeKind
from training.nightly.promotion import admit, open_registered, raise_champion

_LONGEST_REASON: Final = 500

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.")]
Name = Annotated[str | None, typer.Option("--name", help="The model's name, where several have this version.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in words; kept with the change.")]


def register(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Its name below the bundles directory.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Enter a bundle into the registry after verifying files, digests, signature and the scores it must give.

    It is not in service by that; see lungwatch models promote. Doing it again changes nothing.

    Exit codes: 0 registered; 2 the bundle is refused, with what to do, or wrong settings.
    """
    with open_ledger() as ledger:
        model_version_id = admit(ledger.settings, ledger.write, folder)
        with ledger.read() as session:
            title = _titles(session)[model_version_id]
    if as_json:
        print_json({"model": title, "model_version_id": model_version_id})
    else:
        say(console(), f"{title} is registered; lungwatch models promote puts it in service.")


def promote(version: Version, *, reason: Reason, name: Name = None, as_json: AsJson = False) -> None:
    """Put a registered model in service; its bundle is verified first.

    The gate is not asked. The anchor stays: what is trained next is still held against the best model there was; see
    lungwatch models anchor.

    Exit codes: 0 in service, workers follow within 30 s; 1 it is champion already, or somebody else was quicker; 2 the
    bundle is refused, with what to do, or wrong command line or settings.
    """
    why = reason_text(reason)
    with open_ledger() as ledger:
        with ledger.read() as session:
            reign, row = _champion(session), _registered(session, version, name)
        _raise(ledger, reign, row, ChangeKind.PROMOTED, why, as_json=as_json)


def rollback(
    *,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="A version that was champion; else the one before.")
    ] = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Put the model back in service that was champion before; its bundle is verified first.

    The model rolled back stays the anchor if it was: no other is promoted by night before it beats that one. Rolling
    back again goes one further back.

    Exit codes: as of promote; 1 also if nobody was champion before, or the one named never was.
    """
    why = reason_text(reason)
    with open_ledger() as ledger:
        with ledger.read() as session:
            reign, known = _champion(session), changes(session)
            if to is None:
                before = one_before(known)
                if before is None:
                    raise LungwatchError(f"nobody was champion before {_title(reign.model)}; name one with --to")
                row = session.get_one(ModelVersion, before)
            else:
                row = _registered(session, to, name)
                if all(row.id != change.new_model_version_id for change in known):
                    raise LungwatchError(f"{_title(row)} never was champion; lungwatch models promote makes it so")
        _raise(ledger, reign, row, ChangeKind.ROLLED_BACK, why, as_json=as_json)


def anchor(version: Version, *, reason: Reason, name: Name = None, as_json: AsJson = False) -> None:
    """Name the model that challengers are held against besides the champion; its bundle is verified first.

    The champion stays. A night that is held against the old anchor promotes nothing any more.

    Exit codes: as of promote.
    """
    why = reason_text(reason)
    with open_ledger() as ledger:
        with ledger.read() as session:
            reign, row = _champion(session), _registered(session, version, name)
        if row.id == reign.anchor_id:
            raise LungwatchError(f"{_title(row)} is the anchor already; nothing changed")
        open_registered(ledger.settings, row)
        with ledger.write.begin() as session:
            token = name_anchor(session, row.id, reign.fencing_token, actor=account(), reason=why)
    if as_json:
        print_json({"champion": _title(reign.model), "anchor": _title(row), "fencing_token": token})
    else:
        say(console(), f"{_title(row)} is the anchor; {_title(reign.model)} stays champion.")


def history(*, as_json: AsJson = False) -> None:
    """List every change of champion or anchor, newest first."""
    with open_ledger() as ledger, ledger.read() as session:
        titles = _titles(session)
        rows = [
            {
                "fencing_token": change.fencing_token,
                "at": change.changed_at,
                "what": change.kind,
                "champion": titles[change.new_model_version_id],
                "before": None if change.old_model_version_id is None else titles[change.old_model_version_id],
                "anchor": None if change.anchor_id is None else titles[change.anchor_id],
                "nightly_run_id": change.nightly_run_id,
                "actor": change.actor,
                "reason": change.reason,
            }
            for change in changes(session)
        ]
    if as_json:
        print_json(rows)
    elif rows:
        columns = ("Token", "When", "What", "Champion", "Before", "Anchor", "Night", "By", "Why")
        console().print(table(columns, (tuple(row.values()) for row in rows)))
    else:
        say(notes(), "No model was in service yet.")


def _raise(ledger: Ledger, reign: Reign, row: ModelVersion, kind: ChangeKind, reason: str, *, as_json: bool) -> None:
    if row.id == reign.model.id:
        raise LungwatchError(f"{_title(row)} is champion already; nothing changed")
    token = raise_champion(
        ledger.settings,
        ledger.write,
        row.id,
        reign.fencing_token,
        kind=kind,
        actor=account(),
        reason=reason,
        besides=lambda session: queue(session, row.id, ledger.settings.rescore_days),
    )
    if as_json:
        print_json({"champion": _title(row), "before": _title(reign.model), "fencing_token": token})
    else:
        say(console(), f"{_title(row)} is champion in place of {_title(reign.model)}; workers follow within 30 s.")


def _champion(session: Session) -> Reign:
    reign = champion(session)
    if reign is None:
        raise LungwatchError("no model is in service yet; the first worker that starts installs the starter")
    return reign


def _registered(session: Session, version: str, name: str | None) -> ModelVersion:
    """Find the one model that is meant; never guess which of several is put in service."""
    found = [row for row in models(session) if row.version == version and name in {None, row.name}]
    if not found:
        raise Misconfigured(
            f"no such model {version!r} is registered; see lungwatch models list, and lungwatch models register"
        )
    if len(found) > 1:
        names = ", ".join(row.name for row in found)
        raise Misconfigured(f"several models have version {version!r}; say which with --name: {names}")
    return found[0]


def _titles(session: Session) -> dict[int, str]:
    return {row.id: _title(row) for row in models(session)}


def _title(row: ModelVersion) -> str:
    return f"{row.name} {row.version}"
