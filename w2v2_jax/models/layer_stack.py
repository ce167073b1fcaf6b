"""Stacked layers' parameters as one array each, and as an array per layer where that is faster.

Parameter trees and checkpoints always have the stack. A program that unrolls the layers has to copy
each layer out of it, and its gradients back into it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PLACE = ("encoder", "transformer", "layers")


@jax.custom_vjp
def unstack(x: jax.Array) -> tuple[jax.Array, ...]:
    """x [L, ...] -> L arrays [...], whose gradients are stacked once.

    The gradient of x[i] is an array of zeros as large as x, so that a loop over the layers would
    add up L of them: a fifth of a BASE training step on CPU.
    """
    return tuple(x[i] for i in range(x.shape[0]))


unstack.defvjp(lambda x: (unstack(x), None), lambda _, gradients: (jnp.stack(gradients),))


def _with_layers(params, change):
    encoder, transformer, layers = PLACE
    inner = params[encoder][transformer]
    changed = {**inner, layers: change(inner[layers])}
    return {**params, encoder: {**params[encoder], transformer: changed}}


def to_device(params):
    """`split_layers` on the default device. It removes the leaves of nested dicts of numpy arrays
    one by one, so that there is never a second complete copy."""

    def move(tree: dict, stacked: bool) -> dict:
        moved: dict[str, Any] = {}
        for name in list(tree):
            leaf = tree.pop(name)
            if isinstance(leaf, dict):
                moved[name] = move(leaf, stacked or name == PLACE[-1])
            elif stacked:
                moved[name] = tuple(jax.device_put(np.ascontiguousarray(part)) for part in leaf)
            else:
                moved[name] = jax.device_put(leaf)
        return moved

    return move(params, False)


def split_layers(params):
    """A network's parameters with a tuple of one array per layer in place of each stack.

    As arguments of a compiled function they need no copies, because XLA recognises the slices of
    the stack from `join_layers`. With the stack itself, a tenth of BASE inference on CPU is
    copying."""
    return _with_layers(params, lambda tree: jax.tree.map(tuple, tree))


def join_layers(params):
    """The inverse of `split_layers`, inside the compiled function."""
    is_stack = lambda x: isinstance(x, tuple)  # noqa: E731
    stack = lambda x: jnp.stack(x) if is_stack(x) else x  # noqa: E731
    return _with_layers(params, lambda tree: jax.tree.map(stack, tree, is_leaf=is_stack))
