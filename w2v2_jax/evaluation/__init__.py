"""Error rates with intervals, analysis of errors, and agreement of a model's units with phones."""
