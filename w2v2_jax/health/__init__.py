"""Rules that recognise runs in trouble, and how a run responds."""
