"""Tests of this folder: released checkpoints from the Hugging Face hub."""
