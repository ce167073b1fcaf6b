"""How a network is computed: settings that no checkpoint stores.

The same parameters run with any of them, and except for `dtype` they give the same numbers.
"""

from __future__ import annotations

import dataclasses
import math

from w2v2_jax.errors import InputError

# 2^-24 is float16's smallest number, so a larger loss scale saves nothing. fairseq has no limit.
LARGEST_SCALE = 2.0**24
LARGEST_WINDOW = 2**31 - 1  # the count of updates is int32
CHOICES = {
    "dtype": ("float32", "bfloat16", "float16"),
    "remat": ("none", "dots", "attention", "full"),
    "position_formulation": (
        "auto", "grouped_conv", "paired_groups_conv", "blocked_backward", "conv_per_group",
        "toeplitz_matmul", "toeplitz_backward",
    ),
    "conv_formulation": (
        "auto", "xla_conv", "phased_backward", "matmul_per_stride", "one_matmul",
    ),
    "attention_formulation": (
        "auto", "plain", "late_division", "tpu_few_passes", "tpu_kernel", "gpu_kernel",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Execution:
    """The section `execution` of a configuration.

    dtype: dtype of the computation. Parameters, norms, softmax, similarities and losses stay
        float32. "float16" is for GPUs that do not multiply bfloat16 (before NVIDIA's Ampere); it
        trains with a loss scale (`optimizer.loss_scale`), and the next three settings are for it
        alone.
    loss_scale_start: number by which the loss is multiplied at first, a power of 2 from 2^-24 to
        2^24 (fairseq's fp16_init_scale).
    loss_scale_window: number of updates without an overflow after which the scale is doubled, below
        2^31. (In fairseq it depends on the number of GPUs: 2^14 divided by it, 256 for 64 of them.)
    loss_scale_floor: the scale is not halved to this or less; a gradient that then is not finite is
        a fault (fairseq's min_loss_scale).
    remat: what the backward pass computes again: "none" nothing; "dots" everything except products
        with weights and the output of attention as `tpu_few_passes` or a kernel; "attention"
        everything except that output; "full" every block.
    scan_layers: whether one compiled block is used for all layers, which compiles as fast as one.
    *_formulation: ways to compute the same; "auto" is the fastest one measured on the device
        (docs/results/speed.md).
    position_formulation: "grouped_conv" is XLA's grouped convolution; "paired_groups_conv" is the
        same with groups joined up to the width of a TPU's matrix unit; "blocked_backward" is that
        with a backward pass of plain convolutions and products; "conv_per_group" is one convolution
        per group; "toeplitz_matmul" multiplies blocks of frames with a Toeplitz matrix of the taps;
        "toeplitz_backward" uses one convolution per group in the forward pass and that matrix in
        the backward pass.
    conv_formulation: for the strided convolutions, "xla_conv" is XLA's own; "phased_backward" is
        the same with a backward pass of one plain convolution per phase of the stride;
        "matmul_per_stride" is one matmul for every `stride` taps; "one_matmul" is one matmul for
        all taps, on one view of the input.
    attention_formulation: "plain" is one matmul for queries, keys and values, then softmax;
        "late_division" uses plain matrices and divides the result by the softmax's sum;
        "tpu_few_passes" computes scores again instead of storing them; "tpu_kernel" has softmax,
        dropout and sum in TPU kernels, and is `tpu_few_passes` where these cannot run;
        "gpu_kernel" has them in GPU kernels, and is `plain` where these cannot run.
    """

    dtype: str = "float32"
    loss_scale_start: float = 128.0
    loss_scale_window: int = 2000
    loss_scale_floor: float = 1e-4
    remat: str = "none"
    scan_layers: bool = False
    position_formulation: str = "auto"
    conv_formulation: str = "auto"
    attention_formulation: str = "auto"

    def __post_init__(self):
        for field, known in CHOICES.items():
            value = getattr(self, field)
            if value not in known:
                raise InputError(
                    f"execution.{field}={value!r} is not known; use one of {list(known)}"
                )
        if type(self.scan_layers) is not bool:
            raise InputError(f"execution.scan_layers={self.scan_layers!r} must be True or False")
        self._check_loss_scale()

    def _check_loss_scale(self) -> None:
        start, floor = self.loss_scale_start, self.loss_scale_floor
        window, number = self.loss_scale_window, (int, float)  # and True is none
        fits = type(start) in number and 1 / LARGEST_SCALE <= start <= LARGEST_SCALE
        if not (fits and math.frexp(start)[0] == 0.5):
            raise InputError(
                f"execution.loss_scale_start={start} must be a power of 2 from 2^-24 to 2^24, such "
                "as 128"
            )
        if type(floor) not in number or not 0 <= floor < start:
            raise InputError(
                f"execution.loss_scale_floor={floor} must be at least 0, and below "
                f"execution.loss_scale_start={start}"
            )
        if type(window) is not int or not 1 <= window <= LARGEST_WINDOW:
            raise InputError(
                f"execution.loss_scale_window={window} must be a whole number from 1, below 2^31"
            )


PLAIN = Execution()
FIELDS = tuple(field.name for field in dataclasses.fields(Execution))
