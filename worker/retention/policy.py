"""How long pixels are kept."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, as the ledger remembers it.

    Attributes
    ----------
    name : str
        The setting that gives it, without prefix.
    days : int
        That are kept.
    """

    name: str
    days: int

    def __str__(self) -> str:
        return f"{self.name}={self.days}"


@dataclass(frozen=True, slots=True)
class Policies:
    """What a site lets go; None keeps all.

    Attributes
    ----------
    stored : Policy or None
        Of files in ``stored/``, from their receipt's end.
    masters : Policy or None
        Of master images, from when their study settled.
    """

    stored: Policy | None
    masters: Policy | None

    @classmethod
    def of(cls, settings: Settings) -> Policies:
        """Read them from the settings."""
        stored, masters = settings.retention_stored_days, settings.retention_masters_days
        return cls(
            None if stored is None else Policy("RETENTION_STORED_DAYS", stored),
            None if masters is None else Policy("RETENTION_MASTERS_DAYS", masters),
        )
