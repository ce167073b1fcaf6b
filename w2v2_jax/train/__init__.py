"""Pretraining and fine-tuning: the command, the loop and what it writes."""
