"""Migrations of the ledger, run by `db.migrate`."""
