"""The front door: C-STORE SCP, and the registrar that writes receipts."""
