"""`load`: a checkpoint as the object people use; and the command `w2v2 classify`."""

from w2v2_jax.inference.model import Model, load

__all__ = ["Model", "load"]
