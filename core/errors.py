"""The three roots every error of ours grows from, and what a process that ends says of it.

A message names what was wrong, where, and what to do; it never carries a
patient's name, an identifier or a UID, because messages reach logs.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of ours tells the shell, its supervisor or a service manager; docs/runbook.md has the table."""

    FINE = 0
    FINDING = 1
    MISCONFIGURED = 2
    OUTSIDE = 3
    UNEXPECTED = 70
    INTERRUPTED = 130


class LungwatchError(Exception):
    """Root of all errors raised on purpose."""


class RejectedInput(LungwatchError):
    """What was sent can never be processed; trying again would not help.

    Parameters
    ----------
    reason : str
        A value of a reason vocabulary (`imaging.reasons.Reason`), stored in
        the ledger and queryable.
    detail : str
        One sentence for a person, free of identifiers.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransientFailure(LungwatchError):
    """Something outside failed (disk, broker, database, a killed helper); trying again may help."""


class Misconfigured(LungwatchError):
    """The installation is wrong; the process refuses to start until a person changes it."""
