"""Checkpoints of other frameworks, in both directions; only commands and `load` import this."""
