"""Weights and programs for other frameworks."""
