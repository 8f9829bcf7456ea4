"""Where a report goes, and what keeps it from getting there."""

from __future__ import annotations

from dataclasses import dataclass

from db.vocabulary import Unreported


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a peer listens for reports."""

    ae_title: str
    host: str
    port: int


class NotReported(Exception):
    """The peer was not told, or did not take it; another attempt may fare better.

    Parameters
    ----------
    reason : Unreported
    detail : str
        One sentence for a person, free of identifiers.
    """

    def __init__(self, reason: Unreported, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
