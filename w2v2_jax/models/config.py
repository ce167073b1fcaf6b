"""The network's configuration.

One frozen value is the configuration of every module, and the parameter tree depends only on it.
The released families are rows of `families`; what values may be is in `config_checks`.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError
from w2v2_jax.models.config_checks import check

CONV_LAYERS = ((512, 10, 5), *(((512, 3, 2),) * 4), *(((512, 2, 2),) * 2))
TDNN_LAYERS = ((512, 5, 1), (512, 3, 2), (512, 3, 3), (512, 1, 1), (1500, 1, 1))
# What weights of the same shapes may have otherwise, and then compute another thing.
UNSEEN = ("quantize_input", "norm_order", "num_heads")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes, orders and rates of one network (paper section 4.2; fairseq `Wav2Vec2Config`).

    conv_layers: (channels, kernel, stride) of each feature-encoder layer.
    conv_bias: whether the convolutions of the feature encoder have biases.
    extractor_norm: "group" normalises each channel over time after layer 0 (BASE, LARGE LS);
        "layer" normalises channels after every layer (LARGE LV-60k of 2021, XLS-R, MMS).
    masked_group_norm: whether group statistics are taken over real frames only, so that an
        utterance has the same output alone and in a padded batch. False includes the padding, as
        the released code does.
    filterbank_init: whether the first convolution starts as band-pass filters at mel frequencies
        (`models/gabor_kernels.py`) instead of random numbers; it is trained like the others.
    d_model: width of the Transformer.
    num_layers: number of blocks of the Transformer.
    num_heads: number of attention heads of a block; it divides d_model.
    ffn_dim: width of a block's feed-forward network.
    norm_order: "post" or "pre" layer normalisation in the Transformer.
    adapter_dim: width of the adapter after each block (MMS: 16, with one set of adapters per
        language); 0 means none. Only pre-LN networks have adapters.
    always_project_features: whether features are projected to d_model even if that equals conv_dim,
        as in Hugging Face and torchaudio; fairseq (False) then has no projection.
    position_kernel: kernel width of the positional convolution in frames.
    position_depth: number of successive positional convolutions; above 1, each has a layer norm
        without parameters instead of a weight norm (data2vec-audio: 5, with kernel 19).
    position_groups: number of channel groups of the positional convolution.
    dropout: rate after attention, after the feed-forward network and before the first block.
    attention_dropout: rate on attention weights.
    activation_dropout: rate between the two layers of a feed-forward network.
    input_dropout: rate on the projected features (fairseq's dropout_input).
    quantizer_dropout: rate on the features that are quantized (fairseq's dropout_features).
    final_dropout: rate before the CTC head.
    layer_drop: probability that a block is skipped for a row in training.
    feature_grad_scale: factor of the gradient that enters the feature encoder; 0 freezes it.
    codebooks: number of codebooks of the quantizer, G.
    entries: number of entries of each codebook, V.
    code_dim: width of a code, for all codebooks together.
    final_dim: width of the space in which contexts and targets are compared.
    quantize_input: whether the input of the context network is quantized, by a separate quantizer
        or with same_quantizer by that of the targets (Table 4); it stays in fine-tuning, as in
        fairseq.
    quantize_targets: whether targets are quantized; False uses projected latents, without the
        diversity loss (Table 4).
    input_code_dim: width of the input's codes; 0 means d_model, as in fairseq without latent_dim.
    same_quantizer: whether the quantizer of the targets also quantizes the input.
    mask_start_prob: probability that a frame starts a span (fairseq's mask_prob / mask_length).
    mask_length: number of frames of a span.
    mask_min_spans: the least number of spans of a row.
    mask_equalise_rows: number of rows in a group whose masks are trimmed to the fewest masked
        frames among them, as fairseq does in a batch; 0 trims none.
    channel_mask_start_prob: the same probability for spans of channels, in fine-tuning.
    channel_mask_length: number of channels of such a span.
    lora_rank: rank of the low-rank updates (LoRA) of every block's q, k, v and output projections,
        which are multiplied by lora_alpha / lora_rank; 0 means none.
    lora_alpha: scale of those updates.
    layer_sum: whether the heads of `models/heads.py` see a learned sum of all layers instead of
        only the context.
    head_dim: width of the projection before a classifier of recordings.
    tdnn_layers: (channels, kernel, dilation) of an x-vector's time-delay layers.
    embedding_dim: width of an x-vector.
    output_adapter_layers: number of convolutions that shorten the context after the Transformer,
        each with a gated linear unit (Hugging Face's add_adapter: 3); 0 means none. They are for
        tuned networks.
    output_adapter_kernel: kernel width of such a convolution in frames.
    output_adapter_stride: stride of such a convolution in frames.
    output_dim: width of the context after them, set by a projection before them; 0 means d_model.
    """

    conv_layers: tuple[tuple[int, int, int], ...] = CONV_LAYERS
    conv_bias: bool = False
    extractor_norm: str = "group"
    masked_group_norm: bool = True
    filterbank_init: bool = False
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    ffn_dim: int = 3072
    norm_order: str = "post"
    adapter_dim: int = 0
    always_project_features: bool = False
    position_kernel: int = 128
    position_depth: int = 1
    position_groups: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    input_dropout: float = 0.1
    quantizer_dropout: float = 0.1
    final_dropout: float = 0.0
    layer_drop: float = 0.05
    feature_grad_scale: float = 0.1
    codebooks: int = 2
    entries: int = 320
    code_dim: int = 256
    final_dim: int = 256
    quantize_input: bool = False
    quantize_targets: bool = True
    same_quantizer: bool = False
    input_code_dim: int = 0
    mask_start_prob: float = 0.065
    mask_length: int = 10
    mask_min_spans: int = 2
    mask_equalise_rows: int = 0
    channel_mask_start_prob: float = 0.0
    channel_mask_length: int = 64
    lora_rank: int = 0
    lora_alpha: float = 16.0
    layer_sum: bool = False
    head_dim: int = 256
    tdnn_layers: tuple[tuple[int, int, int], ...] = TDNN_LAYERS
    embedding_dim: int = 512
    output_adapter_layers: int = 0
    output_adapter_kernel: int = 3
    output_adapter_stride: int = 2
    output_dim: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):  # NumPy's numbers are none that JSON has
            if isinstance(value := getattr(self, field.name), np.generic):
                object.__setattr__(self, field.name, value.item())
        for name in ("conv_layers", "tdnn_layers"):
            given = getattr(self, name)
            try:
                layers = tuple(tuple(int(n) for n in layer) for layer in given)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"model.{name}={str(given)[:100]} must be rows of three whole numbers"
                ) from error
            object.__setattr__(self, name, layers)
        check(self)

    @property
    def input_codes(self) -> int:
        """Width of the codes that are the context network's input with quantize_input."""
        return self.code_dim if self.same_quantizer else self.input_code_dim or self.d_model

    @property
    def projects_features(self) -> bool:
        """Whether there is a projection from conv_dim to d_model."""
        differ = self.conv_dim != self.d_model
        return (differ or self.always_project_features) and not self.quantize_input

    @property
    def conv_dim(self) -> int:
        """Channels of the last feature-encoder layer."""
        return self.conv_layers[-1][0]

    @property
    def output_layers(self) -> tuple[tuple[int, int, int], ...]:
        """`conv_layers` and the output adapter, to count the frames of the output: with one frame
        of zeros at either end, a convolution needs two frames fewer."""
        width, kernel = self.output_width, self.output_adapter_kernel - 2
        adapter = (width, kernel, self.output_adapter_stride)
        return self.conv_layers + (adapter,) * self.output_adapter_layers

    @property
    def output_width(self) -> int:
        """Width of the context that heads see."""
        return self.output_dim or self.d_model

    @property
    def stride(self) -> int:
        """Samples between two output frames: 320 (20 ms) for the released families."""
        return math.prod(stride for _, _, stride in self.output_layers)

    @property
    def seconds_per_frame(self) -> float:
        """Seconds between two frames: 0.02 for the released families."""
        return self.stride / SAMPLE_RATE
