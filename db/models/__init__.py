"""The tables, one module a subject; importing `db.models.all` registers every one with the metadata."""
