"""Model FLOPs by arithmetic: the matmuls and convolutions a step cannot do without.

A multiply-add is two; norms, activations, softmax and the contrastive similarities are left out.
A training step counts three forwards (rematerialised work is not model FLOPs), and one of a feature
encoder that is not trained.
"""

from __future__ import annotations

from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.frames import frame_counts


def feature_flops(config: ModelConfig, samples: int) -> float:
    """FLOPs of one row of `samples` through the feature encoder's convolutions."""
    total, channels = 0.0, 1
    for index, (out, kernel, _) in enumerate(config.conv_layers):
        frames = int(frame_counts(samples, config.conv_layers[: index + 1]))
        total += 2.0 * frames * out * channels * kernel
        channels = out
    return total


def forward_flops(config: ModelConfig, samples: int) -> float:
    """FLOPs of one row of `samples` through encoder (feature encoder, projection or input
    quantizer, Transformer)."""
    total, channels = feature_flops(config, samples), config.conv_layers[-1][0]
    frames = int(frame_counts(samples, config.conv_layers))
    dim = config.d_model
    if config.quantize_input:
        total += 2.0 * frames * channels * config.codebooks * config.entries
        total += 2.0 * frames * (config.entries + dim) * config.input_codes
    elif config.projects_features:
        total += 2.0 * frames * channels * dim
    position = config.position_depth * config.position_kernel
    total += 2.0 * frames * dim * position * dim / config.position_groups
    layer = 8.0 * frames * dim * dim + 4.0 * frames * frames * dim
    layer += 4.0 * frames * dim * config.ffn_dim
    total += config.num_layers * layer
    width = config.output_width
    if width != dim:
        total += 2.0 * frames * dim * width
    for index in range(config.output_adapter_layers):
        last = len(config.conv_layers) + index + 1
        frames = int(frame_counts(samples, config.output_layers[:last]))
        total += 2.0 * frames * width * 2 * width * config.output_adapter_kernel
    return total


def train_flops(config: ModelConfig, samples: int) -> float:
    """FLOPs of one row of a training step: forward, and twice that backward, which a frozen feature
    encoder has not."""
    frozen = 2.0 * feature_flops(config, samples) if config.feature_grad_scale == 0 else 0.0
    return 3.0 * forward_flops(config, samples) - frozen
