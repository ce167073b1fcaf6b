"""The whole network: encoder, its pretraining heads and its CTC head (paper sections 2 and 3).

Top-level parameter tree: encoder, and quantizer + target_projection + context_projection when
pretraining, or head with CTC. There is no quantizer if the targets are continuous, or if the
input's quantizer, which belongs to the encoder, also quantizes the targets.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models import row_random
from w2v2_jax.models.backend import platform
from w2v2_jax.models.call_checks import check_mask, check_no_rngs, check_rows
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.feature_extractor import FeatureExtractor
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.layers import Dense, LayerNorm, scale_gradient
from w2v2_jax.models.masking import Slots
from w2v2_jax.models.output_adapter import OutputAdapter
from w2v2_jax.models.quantizer import Quantized, Quantizer, unit_uniform
from w2v2_jax.models.sharding import constrain_whole_rows, named
from w2v2_jax.models.transformer import Transformer


class Encoded(NamedTuple):
    """context [B, T, D]; features [B, T, C] (normalised latents z); counts [B] real frames of the
    context (fewer than of features where an output adapter shortens it, [B, T', E]);
    penalty [B], the mean square of the un-normalised latents over a row's real frames
    (docs/traps.md#t10); states, those of the Transformer that were asked for; input_probs
    [B, T, G, V] of the input quantizer, None without one; inputs [B, T, D], the Transformer's input
    without mask and dropout.
    """

    context: jax.Array
    features: jax.Array
    counts: jax.Array
    penalty: jax.Array
    states: tuple[jax.Array, ...]
    input_probs: jax.Array | None
    inputs: jax.Array


class Encoder(nn.Module):
    """Waveforms to context: feature encoder -> norm -> projection -> mask -> Transformer."""

    config: ModelConfig
    execution: Execution = PLAIN

    def setup(self):
        if self.config.quantize_input:
            width = self.config.input_codes
            self.input_quantizer = Quantizer(dataclasses.replace(self.config, code_dim=width))

    def quantize(self, features, gumbel, temperature) -> Quantized:
        """The input quantizer's codes of features [B, M, C], for targets that share it."""
        return self.input_quantizer(features, gumbel, temperature)

    @nn.compact
    def __call__(
        self,
        waveforms,
        num_samples,
        *,
        mask=None,
        channel_mask=None,
        keys=None,
        input_gumbel=None,
        temperature=1.0,
        hidden_states=False,
        middle=0,
    ) -> Encoded:
        """waveforms [B, S], num_samples [B]; mask [B, T] and channel_mask [B, D] bool or None;
        keys [B] for dropout and LayerDrop, None when evaluating; input_gumbel [B, T, G, V] is the
        input quantizer's noise, None when evaluating or without one, and temperature its Gumbel
        temperature; hidden_states and middle: which `states` are returned, see `Transformer`.
        Raises InputError for other shapes or types, and for `rngs`, which nothing takes."""
        check_rows(waveforms, num_samples, keys)
        check_no_rngs(self)
        config, execution = self.config, self.execution
        extractor = FeatureExtractor(config, execution, name="feature_extractor")
        latents = extractor(waveforms, num_samples)
        latents = scale_gradient(constrain_whole_rows(latents), config.feature_grad_scale)
        counts = frame_counts(num_samples, config.conv_layers)
        real = frame_mask(counts, latents.shape[1])  # [B, T]
        check_mask("mask", mask, real.shape)
        check_mask("channel_mask", channel_mask, (real.shape[0], config.d_model))
        squares = jnp.square(latents.astype(jnp.float32)).mean(-1) * real
        penalty = squares.sum(1) / jnp.maximum(counts, 1)  # [B]

        features = LayerNorm(execution.dtype, name="feature_norm")(latents)
        project = functools.partial(Dense, config.d_model, (None, "embed"), dtype=execution.dtype)
        x, input_probs = features, None
        if config.projects_features:
            x = project(name="feature_projection")(x)
        inputs = x
        x = row_random.dropout(x, config.input_dropout, row_random.fold(keys, row_random.INPUT))
        if config.quantize_input:  # before the mask, so that the mask embedding is not quantized
            quantized = self.input_quantizer(x, input_gumbel, temperature)
            x, input_probs = quantized.codes, quantized.probs
            inputs = x = project(name="input_projection")(x)
        embedding = self.param("mask_embedding", named(unit_uniform, ("embed",)), (config.d_model,))
        if mask is not None:
            # float32, so that the embedding's gradient is summed and leaves as it.
            x = jnp.where(mask[..., None], embedding, x.astype(jnp.float32)).astype(x.dtype)
        if channel_mask is not None:
            x = jnp.where(channel_mask[:, None, :], jnp.zeros((), x.dtype), x)
        context, states = Transformer(config, execution, name="transformer")(
            constrain_whole_rows(x), real, keys, hidden_states=hidden_states, middle=middle
        )
        if config.output_adapter_layers:
            context, counts = OutputAdapter(config, execution, name="output_adapter")(
                context, counts
            )
        return Encoded(context, features, counts, penalty, states, input_probs, inputs)


class Contrast(NamedTuple):
    """What the contrastive task compares, for the M masked slots of each row.

    context [B, M, F], targets [B, M, F] (projected latents, quantized or not), ids [B, M, G] and
    probs [B, M, G, V] (None for continuous targets), penalty [B], input_probs [B, T, G, V] (None
    for a continuous input).
    """

    context: jax.Array
    targets: jax.Array
    ids: jax.Array | None
    probs: jax.Array | None
    penalty: jax.Array
    input_probs: jax.Array | None


def take_frames(x: jax.Array, frames: jax.Array) -> jax.Array:
    """x [B, T, C], frames [B, M] -> [B, M, C]."""
    if platform() == "tpu":
        return picked(x, frames)
    return jnp.take_along_axis(x, frames[..., None], axis=1)


def picked(x: jax.Array, frames: jax.Array) -> jax.Array:
    """`take_frames` as an exact matmul with ones and zeros, whose gradient needs no scatter."""
    places = jnp.arange(x.shape[1]).reshape(1, 1, -1)
    choice = (frames[..., None] == places).astype(x.dtype)  # [B, M, T]
    precision = "highest" if x.dtype == jnp.float32 else None
    return jnp.einsum("bmt,btc->bmc", choice, x, precision=precision)


class WithEncoder(nn.Module):
    """A network whose `encoder` can be run alone."""

    def encode(self, waveforms, num_samples, *, hidden_states=False) -> Encoded:
        """The encoder without masks or dropout."""
        return self.encoder(waveforms, num_samples, hidden_states=hidden_states)


class Wav2Vec2ForPretraining(WithEncoder):
    """Encoder plus quantizer; only masked frames are quantized and projected."""

    config: ModelConfig
    execution: Execution = PLAIN

    def setup(self):
        config = self.config
        self.encoder = Encoder(config, self.execution)
        if config.quantize_targets and not config.same_quantizer:
            self.quantizer = Quantizer(config)
        self.target_projection = Dense(config.final_dim, (None, None))
        self.context_projection = Dense(
            config.final_dim, ("embed", None), dtype=self.execution.dtype
        )

    def __call__(
        self,
        waveforms,
        num_samples,
        *,
        mask,
        slots: Slots,
        gumbel,
        temperature,
        keys=None,
        input_gumbel=None,
    ) -> Contrast:
        """mask [B, T] is hidden from the Transformer; the quantizer sees unmasked features."""
        encoded = self.encoder(
            waveforms,
            num_samples,
            mask=mask,
            keys=keys,
            input_gumbel=input_gumbel,
            temperature=temperature,
        )
        features = row_random.dropout(
            encoded.features,
            self.config.quantizer_dropout,
            row_random.fold(keys, row_random.QUANTIZER),
        )
        targets, ids, probs = take_frames(features, slots.frames), None, None
        if self.config.quantize_targets:
            targets, ids, probs = self.quantize(targets, gumbel, temperature)
        return Contrast(
            self.context_projection(take_frames(encoded.context, slots.frames)),
            self.target_projection(targets.astype(jnp.float32)),
            ids,
            probs,
            encoded.penalty,
            encoded.input_probs,
        )

    def quantize(self, features, gumbel, temperature) -> Quantized:
        """The targets' codes of features [B, M, C]."""
        quantizer = self.encoder.quantize if self.config.same_quantizer else self.quantizer
        return quantizer(features, gumbel, temperature)

    def units(self, waveforms, num_samples) -> jax.Array:
        """Quantizer entries of every frame, [B, T, G] int32."""
        encoded = self.encoder(waveforms, num_samples)
        return self.quantize(encoded.features, None, 1.0).ids


class Wav2Vec2ForCTC(WithEncoder):
    """Encoder plus one linear layer to `num_classes` symbols, row 0 the CTC blank."""

    config: ModelConfig
    num_classes: int
    execution: Execution = PLAIN

    def setup(self):
        self.encoder = Encoder(self.config, self.execution)
        self.head = Dense(  # float32: the logits enter a log-softmax
            self.num_classes,
            ("embed", None),
            nn.initializers.xavier_uniform(),
            nn.initializers.zeros,
        )

    def __call__(
        self,
        waveforms,
        num_samples,
        *,
        mask=None,
        channel_mask=None,
        keys=None,
        frozen=False,
        input_gumbel=None,
        temperature=1.0,
        middle=0,
    ) -> tuple[jax.Array, ...]:
        """Returns logits [B, T, C] float32 and real frames [B]; with `middle` also the logits of
        the context after that many blocks. frozen trains only the head."""
        encoded = self.encoder(
            waveforms,
            num_samples,
            mask=mask,
            channel_mask=channel_mask,
            keys=keys,
            input_gumbel=input_gumbel,
            temperature=temperature,
            middle=middle,
        )

        def logits(context, stream):
            context = jax.lax.stop_gradient(context) if frozen else context
            context = row_random.dropout(
                context, self.config.final_dropout, row_random.fold(keys, stream)
            )
            return self.head(context.astype(jnp.float32))

        outputs = logits(encoded.context, row_random.FINAL), encoded.counts
        if not middle:
            return outputs
        return *outputs, logits(encoded.states[0], row_random.MIDDLE)


class Wav2Vec2ForMaskedPrediction(WithEncoder):
    """Encoder plus one linear layer from masked frames to the logits of `num_classes` targets."""

    config: ModelConfig
    num_classes: int
    execution: Execution = PLAIN

    def setup(self):
        self.encoder = Encoder(self.config, self.execution)
        self.target_head = Dense(self.num_classes, ("embed", None), dtype=self.execution.dtype)

    def __call__(self, waveforms, num_samples, *, mask, slots: Slots, keys=None) -> jax.Array:
        """mask [B, T] is hidden from the Transformer -> logits [B, M, num_classes] of the slots."""
        encoded = self.encoder(waveforms, num_samples, mask=mask, keys=keys)
        return self.target_head(take_frames(encoded.context, slots.frames))
