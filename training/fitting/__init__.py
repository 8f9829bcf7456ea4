"""Fitting a network: recipes, batches, and runs that go on where they were interrupted."""
