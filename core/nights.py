"""Which night it is: the local hour at which the nightly job begins, and for how long it may still begin."""

from __future__ import annotations

from datetime import date, datetime, timedelta


def due(now: datetime, hour: int, hours: float) -> date | None:
    """Return the night that may be begun or gone on with now; None in the hours between.

    Parameters
    ----------
    now : datetime
        Local time, aware or not.
    hour : int
        Local hour at which a night begins; it has the date of that moment.
    hours : float
        How long it may take: no night begins in the middle of a working day because a machine was off.
    """
    begin = _last_begin(now, hour)
    return begin.date() if now < begin + timedelta(hours=hours) else None


def tonight(now: datetime, hour: int | None) -> date:
    """Return the night that somebody who starts one by hand means: the last that began.

    Never one that is still to come, which would then find its date taken.
    """
    return now.date() if hour is None else _last_begin(now, hour).date()


def _last_begin(now: datetime, hour: int) -> datetime:
    begin = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return begin if begin <= now else begin - timedelta(days=1)
