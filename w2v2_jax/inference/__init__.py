"""`w2v2_jax.load`, which makes a Model of a checkpoint, and the command `w2v2 classify`."""

from w2v2_jax.inference.model import Model, load

__all__ = ["Model", "load"]
