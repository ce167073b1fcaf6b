"""Checkpoints of other frameworks, both directions; only the command lines import this."""
