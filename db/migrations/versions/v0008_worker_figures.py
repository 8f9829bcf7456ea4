"""What workers say of their work in their heartbeats.

Compatible with the release still running: it does not name the column, which may be empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "21e9c0e1fcafb30e544da41f2c4362a12e82a3f7187cc87c2609d5a2deb7a68c"


def upgrade() -> None:
    """Add the column."""
    op.add_column("heartbeat", sa.Column("figures", sa.JSON(), nullable=True, comment="WORKER: what it did lately."))
