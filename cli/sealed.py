"""`lungwatch evaluate --sealed`: the share of the test set that is opened once a quarter."""

from __future__ import annotations

from sqlalchemy import select

from bundle.load import bring_up_for
from bundle.manifest import FITTED_PATIENTS
from cli import model_choice
from cli.ledger import open_ledger
from cli.reason import reason_text
from cli.training import bars
from cli.verdicts_import import account
from core.errors import Misconfigured
from db.models.model import ModelVersion
from training.nightly.snapshot.sealed import Opened, open_sealed, refuse_closed


def evaluate_sealed(model: str, reason: str) -> Opened:
    """Measure a registered model on the sealed share, and count that.

    Raises
    ------
    StaysSealed
        If there is none, or it was opened too lately.
    Misconfigured
        If the model is not registered, or the reason cannot be kept.
    """
    reason = reason_text(reason)
    with open_ledger() as ledger:
        settings = ledger.settings
        with ledger.read() as session:
            # before a model is loaded and minutes are spent
            refuse_closed(session, settings.sealed_days)
        verified = model_choice.find(settings, model)
        with ledger.read() as session:
            number = session.scalars(
                select(ModelVersion.id).where(ModelVersion.bundle_digest == verified.digest)
            ).first()
        if number is None:
            raise Misconfigured(
                f"{verified.manifest.title} is not registered, so opening the sealed share for it could not be kept; "
                "see lungwatch models list"
            )
        loaded = bring_up_for(settings, verified)
        fitted = frozenset(verified.files[FITTED_PATIENTS].decode("ascii").split())
        with bars() as shown:
            return open_sealed(
                settings,
                ledger.write,
                loaded,
                fitted,
                number,
                actor=account(),
                reason=reason,
                begin=lambda total: shown.stage("read and score", total),
            )
