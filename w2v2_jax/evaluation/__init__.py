"""Error rates with intervals, what went wrong where, and what the units of a model mean."""
