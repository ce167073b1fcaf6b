"""What data2vec adds to the network: a regression head, and a teacher's targets.

The teacher is a Transformer with the network's shape and other weights. Its input is complete,
without masks or dropout (arXiv 2202.03555, section 3.3; fairseq `Data2VecAudioModel`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_mask
from w2v2_jax.models.layer_stack import unstack
from w2v2_jax.models.layers import EPSILON, Dense, LayerNorm
from w2v2_jax.models.masking import Slots
from w2v2_jax.models.position import PositionalConvolution, StackedConvolutions
from w2v2_jax.models.sharding import constrain_whole_rows
from w2v2_jax.models.transformer import TransformerLayer
from w2v2_jax.models.wav2vec2 import Encoder, WithEncoder, take_frames


class Regression(NamedTuple):
    """predictions [B, M, D] of the masked slots; inputs [B, T, D] of the Transformer before mask
    and dropout; real [B, T] frames."""

    predictions: jax.Array
    inputs: jax.Array
    real: jax.Array


class Wav2Vec2ForRegression(WithEncoder):
    """Encoder plus one linear layer from masked frames to vectors of the encoder's width."""

    config: ModelConfig
    execution: Execution = PLAIN

    def setup(self):
        self.encoder = Encoder(self.config, self.execution)
        self.regression_head = Dense(
            self.config.d_model, ("embed", None), dtype=self.execution.dtype
        )

    def __call__(self, waveforms, num_samples, *, mask, slots: Slots, keys=None) -> Regression:
        """mask [B, T] is hidden from the Transformer."""
        encoded = self.encoder(waveforms, num_samples, mask=mask, keys=keys)
        predictions = self.regression_head(take_frames(encoded.context, slots.frames))
        real = frame_mask(encoded.counts, encoded.context.shape[1])
        return Regression(predictions, encoded.inputs, real)


def over_time(x: jax.Array, real: jax.Array) -> jax.Array:
    """x [B, T, D] with mean 0 and variance 1 of each row's channels over its real frames [B, T], in
    float32; 0 beyond them (torch's `instance_norm`, which knows no padding)."""
    there = real[..., None]
    count = jnp.maximum(real.sum(1), 1)[:, None, None]
    x = jnp.where(there, x.astype(jnp.float32), 0)
    centred = jnp.where(there, x - x.sum(1, keepdims=True) / count, 0)
    variance = jnp.square(centred).sum(1, keepdims=True) / count
    return centred * jax.lax.rsqrt(variance + EPSILON)


def layer_targets(
    params: Any,
    inputs: jax.Array,
    real: jax.Array,
    *,
    top: int,
    config: ModelConfig,
    execution: Execution = PLAIN,
) -> jax.Array:
    """The mean of the `top` last blocks' targets [B, T, D] in float32: what their feed-forward
    networks put out, before the residual sum, each normalised over time.

    params: of a `Transformer`. inputs [B, T, D], real [B, T] frames.
    """
    layer = TransformerLayer(config, execution, parent=None)
    x = jnp.where(real[..., None], inputs, 0)
    position = {"params": params["position"]}
    if config.position_depth > 1:
        places = StackedConvolutions(config, execution).apply(position, x, real)
    else:
        places = PositionalConvolution(config, execution).apply(position, x)
    x = constrain_whole_rows(x + places)
    if config.norm_order == "post":
        x = LayerNorm(execution.dtype).apply({"params": params["norm"]}, x)
    first = config.num_layers - top

    def block(x, leaves):
        x, sown = layer.apply({"params": leaves}, x, real, None, mutable=["intermediates"])
        return x, sown["intermediates"]["feed_forward"][0]

    total = jnp.zeros(x.shape, jnp.float32)
    if execution.scan_layers:

        def add(carry, part):
            (x, total), (index, leaves) = carry, part
            x, target = block(x, leaves)
            return (x, total + jnp.where(index < first, 0, over_time(target, real))), None

        parts = (jnp.arange(config.num_layers), params["layers"])
        (_, total), _ = jax.lax.scan(add, (x, total), parts)
    else:
        stacks, tree = jax.tree.flatten(params["layers"])
        for index, leaves in enumerate(zip(*map(unstack, stacks), strict=True)):
            x, target = block(x, tree.unflatten(leaves))
            total = total if index < first else total + over_time(target, real)
    return total / top
