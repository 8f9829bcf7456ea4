"""From the spool to the ledger: receipts for what arrived, and the workers' bell."""
