"""Data sets, fitting, calibration, evaluation, and the bundles that come of them."""
