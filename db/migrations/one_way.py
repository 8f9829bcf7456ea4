"""Why no migration can be undone."""

from __future__ import annotations

from core.errors import Misconfigured


def downgrade() -> None:
    """Refuse: what an older schema has no room for would be lost.

    Raises
    ------
    Misconfigured
        Always, with what to do.
    """
    raise Misconfigured("the ledger's schema only goes forward; to go back, restore a backup made before the upgrade")
