"""Network architectures, defined in code; bundles carry weights only."""
