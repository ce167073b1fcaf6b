"""Checkpoints: what they are, their files and their checksums."""
