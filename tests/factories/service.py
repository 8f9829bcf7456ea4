"""Weeks of service in the ledger: studies with images, answers, flags, receipts and readings, many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db.models.flag import Flag
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.study import Image, Study, StudyRevision
from db.models.verdict import Verdict
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome, ReceiptState, VerdictKind, VerdictOrigin
from tests.factories.rows import digest

THRESHOLD = 0.8

Tables = dict[type, list[dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Service:
    """What arrives at a site, and what is said of it.

    Attributes
    ----------
    a_day : int
        Studies, one image each, of one patient each.
    shift : float
        By which log-odds of scores are higher.
    devices, peers : mapping of str to float
        Shares.
    out_of_scope : float
        Share of images with a lateral view.
    read, agree : float
        Share of studies that readers say something of, and of these the share on which they agree with the model.
    masters : tuple of str
        Digests of masters, given to images in turn.
    """

    a_day: int = 20
    shift: float = 0.0
    devices: Mapping[str, float] = field(default_factory=lambda: {"ACME": 0.6, "Bolt": 0.4})
    peers: Mapping[str, float] = field(default_factory=lambda: {"PACS": 0.9, "ER": 0.1})
    out_of_scope: float = 0.2
    read: float = 0.5
    agree: float = 0.9
    masters: tuple[str, ...] = ()


def serve(session: Session, first: date, days: int, model_id: int, service: Service | None = None) -> int:
    """Enter what a site received in some days, drawn by the first day; return how many studies."""
    site = service or Service()
    rng = np.random.default_rng(first.toordinal())
    begin = session.scalar(select(func.coalesce(func.max(Study.id), 0))) or 0
    tables: Tables = {one: [] for one in (Study, Image, Receipt, Prediction, Flag, StudyRevision, Verdict)}
    for number in range(begin + 1, begin + 1 + site.a_day * days):
        day = (number - begin - 1) // site.a_day
        at = datetime.combine(first + timedelta(days=day), time(12), UTC)
        _one(tables, rng, site, (number, model_id), at)
    for one, rows in tables.items():
        if rows:
            session.execute(insert(one), rows)
    return site.a_day * days


def _one(tables: Tables, rng: np.random.Generator, site: Service, numbers: tuple[int, int], at: datetime) -> None:
    number, model_id = numbers
    in_scope = rng.random() >= site.out_of_scope
    score = 1 / (1 + float(np.exp(-rng.normal(site.shift, 1.0))))
    outcome = Outcome.SUSPECTED if score >= THRESHOLD else Outcome.NOT_SUSPECTED
    if not in_scope:
        outcome = Outcome.OUT_OF_SCOPE
    master = site.masters[number % len(site.masters)] if site.masters and in_scope else None
    tables[Study].append(
        {
            "id": number,
            "study_uid": f"1.2.{number}",
            "patient_id": f"P{number}",
            "outcome": outcome,
            "first_received_at": at,
            "last_received_at": at,
            "settled_at": at,
        }
    )
    tables[Image].append(
        {
            "id": number,
            "study_id": number,
            "sop_instance_uid": f"1.3.{number}",
            "sop_class_uid": "1",
            "transfer_syntax_uid": "1",
            "receipt_sha256": digest(number),
            "outcome": outcome,
            "reason": None if in_scope else "VIEW",
            "annotations": [],
            "view": "AP" if in_scope else "LATERAL",
            "patient_sex": "M" if rng.random() < 0.5 else "F",
            "patient_age_days": int(rng.integers(366, 1826)),
            "manufacturer": _drawn(rng, site.devices),
            "master_digest": master,
        }
    )
    tables[Receipt].append(
        {
            "id": number,
            "entry": f"entry-{number}",
            "listener": "listener",
            "incarnation": "1",
            "sequence": number,
            "sha256": digest(number),
            "size": 1,
            "peer": _drawn(rng, site.peers),
            "received_at": at,
            "registered_at": at,
            "due_at": at,
            "urgency": 10,
            "state": ReceiptState.CLASSIFIED if in_scope else ReceiptState.OUT_OF_SCOPE,
            "attempts": 1,
            "finished_at": at,
            "stored_at": at,
            "study_id": number,
            "image_id": number,
        }
    )
    tables[StudyRevision].append(
        {"id": number, "study_id": number, "revision": 1, "outcome": outcome, "settled_at": at, "images": 1}
    )
    if not in_scope:
        return
    tables[Prediction].append(
        {
            "image_id": number,
            "image_revision": 1,
            "model_version_id": model_id,
            "preprocess_digest": "p",
            "master_digest": "m",
            "input_digest": "i",
            "outcome": outcome,
            "score": score,
            "threshold": THRESHOLD,
            "unfamiliarity": float(rng.normal(1.0, 0.2)),
            "unfamiliarity_threshold": 1.5,
            "runtime": "litert",
            "code_version": "0",
            "created_at": at,
        }
    )
    if outcome is Outcome.SUSPECTED:
        tables[Flag].append(
            {
                "study_id": number,
                "image_id": number,
                "study_revision": 1,
                "kind": FlagKind.SUSPECTED,
                "priority": FLAG_PRIORITY[FlagKind.SUSPECTED],
                "raised_at": at,
                "received_at": at,
            }
        )
    if rng.random() < site.read:
        says_ill = (outcome is Outcome.SUSPECTED) == (rng.random() < site.agree)
        tables[Verdict].append(
            {
                "study_revision_id": number,
                "reader": "a",
                "read_at": at + timedelta(hours=1),
                "verdict": VerdictKind.PNEUMONIA if says_ill else VerdictKind.NO_PNEUMONIA,
                "model_visible": bool(rng.random() < 0.7),
                "origin": VerdictOrigin.COMMAND,
                "entered_by": "somebody",
                "recorded_at": at + timedelta(hours=1),
                "digest": digest(f"verdict {number}"),
            }
        )


def _drawn(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
