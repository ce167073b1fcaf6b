"""The machine of a run: its hosts, memory, compilation cache and progress lines."""
