"""What a night stores as JSON, whole: read later as it was decided, and refused where it is not what it should be."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Stored(BaseModel):
    """A frozen record of finite numbers and known fields alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_data(self) -> dict[str, Any]:
        """Return it as JSON-ready data, for the ledger; what it does not have is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_json(self) -> str:
        """Return the same as text."""
        return self.model_dump_json(indent=1, exclude_none=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        pydantic.ValidationError
            If it is no such record.
        """
        return cls.model_validate_json(text)
