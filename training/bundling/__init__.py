"""From a fitted network to a signed bundle with its card."""
