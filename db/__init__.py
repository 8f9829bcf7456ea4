"""The ledger: tables, states and their legal moves, claims, queries, views and migrations."""
