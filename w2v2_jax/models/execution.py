"""How a network is computed, apart from what it is: values that no checkpoint stores.

The same parameters run under any of them, and except for `dtype` they give the same numbers.
"""

from __future__ import annotations

import dataclasses

from w2v2_jax.errors import InputError

CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "remat": ("none", "dots", "attention", "full"),
    "position_formulation": (
        "auto", "grouped_conv", "paired_groups_conv", "conv_per_group", "toeplitz_matmul",
        "toeplitz_backward",
    ),
    "conv_formulation": (
        "auto", "xla_conv", "phased_backward", "matmul_per_stride", "one_matmul",
    ),
    "attention_formulation": (
        "auto", "plain", "late_division", "tpu_few_passes", "gpu_kernel",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Execution:
    """The section `execution` of a configuration.

    dtype: compute dtype. Parameters, norms, softmax, similarities and losses stay float32.
    remat: what the backward pass computes again: "none"; "dots", all but products with weights and
        the output of attention as `tpu_few_passes` or `gpu_kernel`; "attention", all but that;
        "full", every block.
    scan_layers: one compiled block for all layers, which compiles in the time of one.
    *_formulation: ways to compute the same; "auto" is the fastest one measured
        (docs/results/speed.md).
    position_formulation: "grouped_conv", XLA's grouped convolution; "paired_groups_conv", the same
        with groups joined up to a TPU matrix unit's width; "conv_per_group", one convolution for
        each group; "toeplitz_matmul", blocks of frames times a Toeplitz matrix of the taps;
        "toeplitz_backward", a convolution for each group forward and that matrix backward.
    conv_formulation: of the strided convolutions: "xla_conv", XLA's own; "phased_backward", that
        with a backward pass of one plain convolution for each phase of the stride;
        "matmul_per_stride", one matmul for each stride's worth of taps; "one_matmul", one matmul
        for all taps, on one view of the input.
    attention_formulation: "plain", one matmul for queries, keys and values, then softmax;
        "late_division", plain matrices, and the softmax's sum divided out of the result;
        "tpu_few_passes", scores multiplied anew instead of stored; "gpu_kernel", softmax, dropout
        and sum in kernels of our own, `plain` where those would not run.
    """

    dtype: str = "float32"
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


PLAIN = Execution()
FIELDS = tuple(field.name for field in dataclasses.fields(Execution))
