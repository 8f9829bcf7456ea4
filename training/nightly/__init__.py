"""The nightly job: retrain, examine again, and promote only what is better."""
