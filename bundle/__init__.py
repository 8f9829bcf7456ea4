"""A trained model on disk: architecture in code, manifest, digest, signature, thresholds, runtimes."""
