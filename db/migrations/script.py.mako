"""${message}.

Compatible with the release still running: it reads and writes while this runs
and after. Backfilling is a migration of its own.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = ""


def upgrade() -> None:
    """Change the tables."""
    ${upgrades if upgrades else "pass"}
