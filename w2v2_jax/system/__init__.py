"""The machine a run has: its hosts, memory, compilation cache and progress."""
