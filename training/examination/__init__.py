"""What a model is worth: calibration, operating point, figures with intervals, and what it stands."""
