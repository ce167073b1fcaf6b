"""What a network is called with. Without these checks a mistake would be an exception of JAX from
deep inside, or a value that is broadcast or ignored in silence. They look at shapes and types, and
at values only outside of jit, so that the compiled program is the same."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.models.frames import frame_counts


def check_rows(waveforms: Any, num_samples: Any, keys: Any = None) -> None:
    """InputError unless these are floats [B, S], whole numbers [B], and keys [B] or None."""
    rows = _shape(waveforms)[:1]
    if len(_shape(waveforms)) != 2 or not jnp.issubdtype(waveforms.dtype, jnp.floating):
        raise InputError(f"waveforms are {_told(waveforms)}; give floats [B, S]")
    if _shape(num_samples) != rows or not jnp.issubdtype(num_samples.dtype, jnp.integer):
        raise InputError(
            f"num_samples are {_told(num_samples)}; give whole numbers [B], the real samples of "
            f"each row of waveforms {list(waveforms.shape)}"
        )
    if keys is None:
        return
    typed = hasattr(keys, "dtype") and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    if _shape(keys)[:1] != rows or len(_shape(keys)) != (1 if typed else 2):
        raise InputError(
            f"keys are {_told(keys)}; give one for each of the {rows[0]} rows, as "
            f"jax.random.split(key, {rows[0]})"
        )


def check_batch(batch: Batch, keys: Any, *, labels: bool, conv_layers) -> None:
    """InputError unless the arrays of a batch fit each other, a row is long enough for one frame,
    and there are labels if these are needed. keys: [B], or None where none are drawn."""
    check_rows(batch.waveforms, batch.num_samples, keys)
    rows, samples = batch.waveforms.shape
    if int(frame_counts(samples, conv_layers)) < 1:
        raise InputError(f"{samples} samples are too few for one frame")
    if _shape(batch.weights) != (rows,):
        raise InputError(
            f"batch.weights are {_told(batch.weights)}; give [{rows}], 1 for a real row"
        )
    if not labels:
        return
    for name, value, axes in (
        ("labels", batch.labels, 2),
        ("num_labels", batch.num_labels, 1),
    ):
        if len(_shape(value)) != axes or _shape(value)[0] != rows or not _is_whole(value):
            shape = f"[{rows}, U]" if axes == 2 else f"[{rows}]"
            raise InputError(f"batch.{name} are {_told(value)}; give whole numbers {shape}")


def check_values(batch: Batch, *, first_class: int, num_classes: int) -> None:
    """InputError for counts beyond their row, and for labels that are no class: their loss would be
    lower than that of any other. Only of arrays with values, not of those that are traced."""
    if not _has_values(*batch):
        return
    num_samples, samples = np.asarray(batch.num_samples), batch.waveforms.shape[1]
    if num_samples.max(initial=0) > samples or num_samples.min(initial=0) < 0:
        raise InputError(f"num_samples={num_samples} must be 0 to {samples}, the row's length")
    if not num_classes:
        return
    labels, num_labels = np.asarray(batch.labels), np.asarray(batch.num_labels)
    if num_labels.max(initial=0) > labels.shape[1] or num_labels.min(initial=0) < 0:
        raise InputError(f"batch.num_labels={num_labels} must be 0 to {labels.shape[1]}")
    real = labels[np.arange(labels.shape[1]) < num_labels[:, None]]
    if real.size and not first_class <= real.min() <= real.max() < num_classes:
        raise InputError(
            f"batch.labels are {real.min()} to {real.max()}; give {first_class} to "
            f"{num_classes - 1}, with num_classes={num_classes}"
        )


def _has_values(*arrays: Any) -> bool:
    """Whether all arrays have values on this host; None counts as one that has."""
    plain = (np.ndarray, jax.Array)
    held = [x for x in arrays if x is not None]
    return all(
        isinstance(x, plain)
        and not isinstance(x, jax.core.Tracer)
        and getattr(x, "is_fully_addressable", True)
        for x in held
    )


def check_mask(name: str, mask: Any, shape: tuple) -> None:
    """InputError unless a mask has this shape or is None."""
    if mask is not None and _shape(mask) != shape:
        raise InputError(f"{name} is {_told(mask)}; give {list(shape)}")


def check_no_rngs(module: nn.Module) -> None:
    """InputError for Flax's `rngs`, which nothing here would take: dropout would be off."""
    given = sorted(set(module.scope.rngs) - {"params"}) if module.scope is not None else []
    if given:
        raise InputError(
            f"rngs={given} change nothing: dropout, LayerDrop and noise come from `keys`, one for "
            "each row; see w2v2_jax/models/row_random.py"
        )


def _is_whole(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.integer)


def _shape(value: Any) -> tuple:
    return tuple(getattr(value, "shape", ()))


def _told(value: Any) -> str:
    if not hasattr(value, "shape"):
        return f"of type {type(value).__name__}"
    return f"{value.dtype} {list(value.shape)}"
