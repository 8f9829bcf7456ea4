"""The gate: whether tonight's challenger may take the champion's place. Pure: no clock, no files, no ledger."""
