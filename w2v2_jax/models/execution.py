"""How a network is computed, apart from what it is: values that no checkpoint stores.

The same parameters run under any of them, and but for `dtype` they give the same numbers.
"""

from __future__ import annotations

import dataclasses

from w2v2_jax.errors import InputError

CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "remat": ("none", "dots", "attention", "full"),
    "position_formulation": ("auto", "grouped", "paired", "toeplitz", "split", "mixed"),
    "conv_formulation": ("auto", "matmul", "conv", "phased", "view"),
    "attention_formulation": ("auto", "fused", "split", "tight", "kernel"),
}


@dataclasses.dataclass(frozen=True)
class Execution:
    """The section `execution` of a configuration.

    dtype: compute dtype. Parameters, norms, softmax, similarities and losses stay float32.
    remat: what the backward pass computes again: "none"; "dots", all but products with weights and
        (`tight`, `kernel`) attention's output; "attention", all but that; "full", every block.
    scan_layers: one compiled block for all layers, which compiles in the time of one.
    *_formulation: ways to compute the same; "auto" is the fastest one measured (docs/speed.md).
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
