"""One look for drift: the last weeks against the reference, as both stand in the ledger. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db import drift as ledger
from db.drift import Days
from db.models.learning import DriftReference
from db.registry import champion
from training.nightly.drift.compare import compare, gravest
from training.nightly.drift.grey import grey_levels
from training.nightly.drift.result import Drift, Level, Measure, Name, Period
from training.nightly.drift.rules import rules_of
from training.nightly.drift.sizes import Sample
from training.nightly.drift.weeks import Collector

# of each period; more would tell nothing more
MOST_STUDIES: Final = 20_000


def look(settings: Settings, readers: sessionmaker[Session], today: date) -> Drift:
    """Hold the last weeks against the reference in force.

    Parameters
    ----------
    settings : Settings
        Rules, lengths, and where masters lie.
    readers : sessionmaker
        `db.base.make_readers`.
    today : date
        The first day that is not looked at; by UTC, as all days here. Two looks with the same see the same, unless
        something came in late.

    Raises
    ------
    TransientFailure
        If the masters' disk cannot be read.
    """
    rules = rules_of(settings)
    last = today - timedelta(days=1)
    with readers() as session:
        reference = ledger.reference(session)
        if reference is None or reference.last >= last:
            return Drift(
                today=today, level=Level.UNTOLD, blocks=False, words=_too_early(settings, reference), rules=rules
            )
        reign = champion(session)
        first = max(today - timedelta(days=settings.drift_recent_days), reference.last + timedelta(days=1))
        before = ledger.days(session, reference.first, reference.last, MOST_STUDIES)
        now = ledger.days(session, first, last, MOST_STUDIES)
        collected = [_collect(session, chosen, None if reign is None else reign.model.id) for chosen in (before, now)]
    seen_before, seen_now = (_samples(settings, collector) for collector in collected)
    measures = compare(seen_before, seen_now, rules)
    level = gravest(measures)
    blocks = level is Level.STRONG and rules.blocks
    return Drift(
        today=today,
        level=level,
        blocks=blocks,
        words=_words(level, measures, blocks=blocks),
        model=None if reign is None else f"{reign.model.name} {reign.model.version}",
        reference=_period(before),
        recent=_period(now),
        measures=measures,
        rules=rules,
    )


def _too_early(settings: Settings, reference: DriftReference | None) -> str:
    if reference is None:
        return (
            f"Nothing to compare with yet: the reference is set once {settings.drift_reference_days} days of service "
            "are on record, or by lungwatch drift reference."
        )
    return f"Nothing to compare yet: the reference lasts until {reference.last}, and no day after it is over."


def _collect(session: Session, chosen: Days, model_version_id: int | None) -> Collector:
    collector = Collector(model_version_id)
    collector.images(ledger.images(session, chosen))
    collector.flags(ledger.flagged(session, chosen))
    collector.readings(ledger.read(session, chosen))
    return collector


def _samples(settings: Settings, collector: Collector) -> dict[Name, Sample]:
    return collector.samples() | grey_levels(settings.masters, collector.masters, settings.drift_masters)


def _period(chosen: Days) -> Period:
    return Period(first=chosen.first, last=chosen.last, studies=chosen.studies, looked_at=len(chosen.looked_at))


def _words(level: Level, measures: Sequence[Measure], *, blocks: bool) -> str:
    untold = [measure for measure in measures if measure.level is Level.UNTOLD]
    found = "; ".join(measure.words for measure in measures if measure.level in {Level.NOTICE, Level.STRONG})
    match level:
        case Level.STRONG:
            consequence = "Nothing is promoted while it stands" if blocks else "By the settings it blocks no promotion"
            return f"Strong drift: {found}. {consequence}."
        case Level.NOTICE:
            return f"Drift: {found}."
        case Level.NONE:
            return f"No drift in {len(measures) - len(untold)} measures; {len(untold)} cannot be told."
        case Level.UNTOLD:
            return "Whether there is drift cannot be told: too few studies, or nothing to compare with."
