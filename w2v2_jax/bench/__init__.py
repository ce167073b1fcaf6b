"""Speed of the train step, of inference and of the data pipeline.

Importing this package imports nothing heavy: a peer's process must not have JAX in its memory.
"""
