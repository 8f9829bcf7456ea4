"""Run by Alembic: hands our connection and metadata to the migrations; `db.migrate` has opened the transaction."""

from __future__ import annotations

from alembic import context

import db.models.all  # noqa: F401 - registers every table
from db.base import Base
from db.migrate import comparison_options

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, **comparison_options()
)
with context.begin_transaction():
    context.run_migrations()
