"""How unlike the training data an image was, and what its heatmap is made from.

Compatible with the release still running: the new columns of ``prediction`` may stay empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "db3a62d39b824dc6a72cb2168e886f4498345de1d737ede9b76338cf37a4b78e"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "prediction",
        sa.Column(
            "unfamiliarity",
            sa.Double(),
            nullable=True,
            comment="How unlike the training data the input is; empty if not finite, or if the bundle measures none.",
        ),
    )
    op.add_column(
        "prediction",
        sa.Column(
            "unfamiliarity_threshold",
            sa.Double(),
            nullable=True,
            comment="On `unfamiliarity`; empty if the bundle measures none.",
        ),
    )
    op.add_column(
        "prediction",
        sa.Column(
            "heat",
            sa.JSON(),
            nullable=True,
            comment="The model's class activation map, for heatmaps; rows of places.",
        ),
    )
