"""The report of a night: one HTML page, a short text and JSON, all three of the same figures."""
