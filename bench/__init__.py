"""Measuring tools: they start real receivers and send to them; nothing here ships with the product."""
