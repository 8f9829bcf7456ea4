"""Answering requests for storage commitment from the ledger (PS3.4 Annex J); read `reporter` first."""
