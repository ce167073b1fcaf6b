"""Heads over the encoder for whole recordings, frames and speakers (transformers'
`Wav2Vec2ForSequenceClassification`, `...ForAudioFrameClassification` and `...ForXVector`; the last
is Snyder et al. 2018).

Top-level parameter tree: encoder, layer_weights with `model.layer_sum`, and the head's own parts.
Everything after the encoder is float32.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models import row_random
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.frames import frame_mask
from w2v2_jax.models.layers import Dense, torch_conv_kernel, torch_linear_bias
from w2v2_jax.models.sharding import named
from w2v2_jax.models.wav2vec2 import Encoder, WithEncoder


class _Headed(WithEncoder):
    """The common part of the heads: the encoder, and which of its layers they use."""

    config: ModelConfig
    num_classes: int
    execution: Execution = PLAIN

    def _encoder_parts(self) -> None:
        self.encoder = Encoder(self.config, self.execution)
        if self.config.layer_sum:
            layers = self.config.num_layers + 1
            even = lambda key, shape: jnp.full(shape, 1 / layers)  # noqa: E731
            self.layer_weights = self.param("layer_weights", named(even, (None,)), (layers,))

    def _hidden(self, waveforms, num_samples, *, frozen=False, keys=None, **masks):
        """[B, T, D] float32 and counts [B]: the context, or with `layer_sum` the sum of every
        block's input and the last output by a softmax of the layers' weights."""
        summed = self.config.layer_sum
        encoded = self.encoder(waveforms, num_samples, keys=keys, hidden_states=summed, **masks)
        if frozen:
            encoded = jax.lax.stop_gradient(encoded)
        hidden = encoded.context.astype(jnp.float32)
        if summed:
            # Before a pre-LN network's last norm, as in transformers 5; 4.x had the last after it.
            states = jnp.stack(encoded.states).astype(jnp.float32)
            weights = jax.nn.softmax(self.layer_weights)
            hidden = jnp.einsum("l,lbtd->btd", weights, states, precision="highest")
        final = row_random.fold(keys, row_random.FINAL)
        return row_random.dropout(hidden, self.config.final_dropout, final), encoded.counts


def mean_of_real(x: jax.Array, counts: jax.Array) -> jax.Array:
    """x [B, T, D], counts [B] -> means over each row's real frames [B, D]."""
    real = frame_mask(counts, x.shape[1])[..., None]
    return jnp.where(real, x, 0.0).sum(1) / jnp.maximum(counts, 1)[:, None]


class Wav2Vec2ForClassification(_Headed):
    """One class for each recording: projection, mean over real frames, classes [B, C]."""

    def setup(self):
        self._encoder_parts()
        self.projector = Dense(self.config.head_dim, ("embed", None))
        self.classifier = Dense(self.num_classes, (None, None))

    def __call__(self, waveforms, num_samples, **options) -> jax.Array:
        hidden, counts = self._hidden(waveforms, num_samples, **options)
        return self.classifier(mean_of_real(self.projector(hidden), counts))


class Wav2Vec2ForFrames(_Headed):
    """Classes of every frame [B, T, C], with real frames [B]."""

    def setup(self):
        self._encoder_parts()
        self.classifier = Dense(self.num_classes, ("embed", None))

    def __call__(self, waveforms, num_samples, **options) -> tuple[jax.Array, jax.Array]:
        hidden, counts = self._hidden(waveforms, num_samples, **options)
        return self.classifier(hidden), counts


class SpeakerOutput(NamedTuple):
    """embeddings and logits, [B, E] each; the second go to the margin loss."""

    embeddings: jax.Array
    logits: jax.Array


class TimeDelay(nn.Module):
    """Dilated convolution over frames without padding, ReLU: x [B, T, I] -> [B, T', O]."""

    features: int
    kernel: int
    dilation: int

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", named(torch_conv_kernel, (None, None, None)), shape)
        bias_init = torch_linear_bias(shape[0] * shape[1])
        bias = self.param("bias", named(bias_init, (None,)), (self.features,))
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (1,),
            "VALID",
            rhs_dilation=(self.dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"),
            precision="highest",
        )
        return jax.nn.relu(x + bias[None, None])


class TimeDelays(nn.Module):
    """The time-delay layers one after the other."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x):
        for index, layer in enumerate(self.config.tdnn_layers):
            x = TimeDelay(*layer, name=f"layer_{index}")(x)
        return x


class Wav2Vec2ForXVector(_Headed):
    """Embedding of a recording's speaker: projection, time-delay layers, mean and deviation over
    the frames that saw none but real ones."""

    def setup(self):
        self._encoder_parts()
        self.projector = Dense(self.config.tdnn_layers[0][0], ("embed", None))
        self.tdnn = TimeDelays(self.config)
        self.embedding = Dense(self.config.embedding_dim, (None, None))
        self.classifier = Dense(self.config.embedding_dim, (None, None))
        shape = (self.config.embedding_dim, self.num_classes)  # of the margin loss
        normal = nn.initializers.normal(1.0)
        self.speakers = self.param("speakers", named(normal, (None, None)), shape)

    def __call__(self, waveforms, num_samples, **options) -> SpeakerOutput:
        hidden, counts = self._hidden(waveforms, num_samples, **options)
        x = self.tdnn(self.projector(hidden))
        counts = counts - tdnn_loss(self.config)
        mean = mean_of_real(x, counts)
        squares = mean_of_real(jnp.square(x - mean[:, None]), counts)
        # torch's deviation: divided by one frame fewer.
        unbiased = squares * (counts / jnp.maximum(counts - 1, 1))[:, None]
        embeddings = self.embedding(jnp.concatenate([mean, jnp.sqrt(unbiased)], axis=-1))
        return SpeakerOutput(embeddings, self.classifier(embeddings))


def tdnn_loss(config: ModelConfig) -> int:
    """Frames that the time-delay layers take away at a recording's ends: 14 as released."""
    return sum((kernel - 1) * dilation for _, kernel, dilation in config.tdnn_layers)
