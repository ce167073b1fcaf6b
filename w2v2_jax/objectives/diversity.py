"""How evenly quantizers use their codes, and the loss that rewards this (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.metrics import Mean


def group_rows(seconds: float, samples: int) -> int:
    """The number of rows of `samples` samples in a group of that many seconds, at least one."""
    return max(1, round(seconds * SAMPLE_RATE) // samples)


def sums_of_groups(values: jax.Array, rows: int) -> jax.Array:
    """[B, ...] -> [groups, ...]: sums over consecutive rows, `rows` of them except in the
    last group, which has the rest. Only validation may have one: training checks its shapes."""
    missing = -len(values) % rows
    if missing:
        values = jnp.pad(values, ((0, missing), *[(0, 0)] * (values.ndim - 1)))
    return values.reshape(-1, rows, *values.shape[1:]).sum(1)


def perplexity(probs: jax.Array, valid: jax.Array, rows: int) -> tuple[jax.Array, jax.Array]:
    """Perplexity of the mean distribution of each group of `rows` consecutive rows.

    probs [B, M, G, V], valid [B, M] float32 -> (sum over codebooks of exp(entropy) [groups],
    valid slots [groups]). The group is explicit because its size sets how strong the diversity loss
    is (docs/traps.md#t29): with N frames drawn evenly from V entries, the perplexity is below V by
    about (V - 1) / 2N. fairseq's group is one GPU's batch of 1.4 M samples.
    """
    total = sums_of_groups(jnp.einsum("bmgv,bm->bgv", probs, valid), rows)
    count = sums_of_groups(valid.sum(1), rows)
    mean = total / jnp.maximum(count, 1.0)[:, None, None]
    entropy = -(mean * jnp.log(mean + 1e-7)).sum(-1)
    return jnp.exp(entropy).sum(-1), count


class Usage(NamedTuple):
    """How evenly one quantizer's codes are used, [groups] each: the perplexity of the probabilities
    and of the most likely entries. The latter is without noise, as in fairseq's logs."""

    probs: jax.Array
    codes: jax.Array


def usage(probs: jax.Array, valid: jax.Array, rows: int) -> Usage:
    """probs [B, M, G, V] over the valid [B, M] places of each group of rows."""
    chosen = jax.nn.one_hot(jnp.argmax(probs, -1), probs.shape[-1])
    return Usage(perplexity(probs, valid, rows)[0], perplexity(chosen, valid, rows)[0])


def diversity_loss(
    used: Sequence[Usage], valid: jax.Array, rows: int, codes: int
) -> tuple[jax.Array, dict[str, Mean]]:
    """The diversity loss over the masked slots valid [B, M], and the metrics of all quantizers.

    As in fairseq (`Wav2Vec2Model.forward`) only one quantizer counts, here the first of `used`. Its
    perplexities have plain names; those of the second, an input's quantizer, begin with "input_".
    """
    frames, total = sums_of_groups(valid.sum(1), rows), valid.sum()
    diversity = (frames * (codes - used[0].probs) / codes).sum()
    metrics = {"diversity_loss": Mean(diversity, total)}
    for prefix, one in zip(("", "input_"), used, strict=False):
        metrics[f"{prefix}prob_perplexity"] = Mean((one.probs * frames).sum(), total)
        metrics[f"{prefix}code_perplexity"] = Mean((one.codes * frames).sum(), total)
    return diversity, metrics
