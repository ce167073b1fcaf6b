"""Training objectives: what is minimised, as sums over rows."""
