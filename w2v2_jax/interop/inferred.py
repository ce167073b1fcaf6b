"""A network's configuration from only its tensors, as far as they show it.

Shapes show widths, depths, kernels and codebooks. They do not show the number of heads, the strides
or the order of norms. The first two are taken from the released families if the shapes match, and
the last must be given.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from w2v2_jax.errors import InputError
from w2v2_jax.interop import names
from w2v2_jax.models.config import CONV_LAYERS, ModelConfig

STACK = "encoder/transformer/position/conv_"
RELEASED_HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16, 2048: 16}


class FileHints(NamedTuple):
    """What the command line says about a file; None for options that were not given."""

    norm_order: str | None = None
    num_heads: int | None = None
    strides: tuple[int, ...] | None = None
    normalise: bool | None = None
    dictionary: str | None = None


def refuse_other(
    hints: FileHints, model: ModelConfig, normalise: bool | None, *, where: str
) -> None:
    """InputError for an option that contradicts what a file says itself. normalise: None if the
    file does not say it."""
    for option, hint, said in (
        ("norm-order", hints.norm_order, model.norm_order),
        ("heads", hints.num_heads, model.num_heads),
        ("strides", hints.strides, tuple(stride for _, _, stride in model.conv_layers)),
        ("normalise", hints.normalise, normalise),
    ):
        if None not in (hint, said) and hint != said:
            raise InputError(f"--{option} {_given(hint)}: {where} says {_given(said)} itself")


def _given(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def to_model(
    tensors: Mapping[str, np.ndarray], table: names.Table, hints: FileHints, *, where: str
) -> ModelConfig:
    """Tensors under a table's names -> ModelConfig; InputError names what they do not show."""

    def name(path: str) -> str:  # of the first layer
        return names.layer_names(path, (1,), table)[0][0]

    def shape(path: str) -> tuple[int, ...] | None:
        tensor = tensors.get(name(path))
        return None if tensor is None else tensor.shape

    def needed(path: str) -> tuple[int, ...]:
        sizes = shape(path)
        if sizes is None:
            raise InputError(f"{where} has no tensor {name(path)}")
        return sizes

    projection = "encoder/input_projection/kernel"
    if any(ours == projection for ours, _, _ in table) and shape(projection):
        raise InputError(
            f"{where}: its input is quantized (quantize_input), and whether by the targets' "
            "quantizer (same_quantizer) cannot be seen in its tensors; it needs its settings"
        )
    convolution = "encoder/feature_extractor/conv_{}/"
    count = _count(convolution.format("{i}"), tensors, table, where=where)
    kernels = [needed(convolution.format(i) + "kernel") for i in range(max(count, 1))]
    width = needed("encoder/transformer/norm/bias")[0]
    block = names.STACKED + "feed_forward_in/bias"
    settings: dict[str, Any] = dict(
        conv_layers=[
            (k[0], k[2], stride)
            for k, stride in zip(kernels, _strides(kernels, hints, where), strict=True)
        ],
        conv_bias=shape(convolution.format(0) + "bias") is not None,
        extractor_norm="layer" if shape(convolution.format(1) + "norm/scale") else "group",
        d_model=width,
        num_layers=_count(names.STACKED, tensors, table, where=where),
        num_heads=_heads(width, hints, where),
        ffn_dim=needed(block)[0],
        norm_order=_norm_order(hints, where),
        **_position(_count(STACK, tensors, table, where=where), needed),
    )
    if kernels[-1][0] == width:  # only some frameworks project there
        settings["always_project_features"] = bool(shape("encoder/feature_projection/kernel"))
    if any(ours == "quantizer/entries" for ours, _, _ in table) and shape("quantizer/entries"):
        settings |= _codebooks(needed)
    return ModelConfig(**settings)


def _count(path: str, tensors: Mapping[str, np.ndarray], table: names.Table, *, where: str) -> int:
    """How many layers there are of those whose paths begin with `path`, by the numbers in the
    names of all their tensors. Raises InputError if a number between them is missing."""
    layers: dict[int, str] = {}
    for pattern in (name for ours, theirs, _ in table if ours.startswith(path) for name in theirs):
        before, _, after = pattern.partition("{i}")
        named = re.compile(f"({re.escape(before)}([0-9]{{1,9}})){re.escape(after)}")
        layers |= {int(match[2]): match[1] for match in map(named.fullmatch, tensors) if match}
    missing = next(i for i in itertools.count() if i not in layers)
    if missing < len(layers):
        last = max(layers)
        absent = layers[last].removesuffix(str(last)) + str(missing)
        raise InputError(f"{where} is not whole: it has {layers[last]}, but not {absent}")
    return len(layers)


def _position(depth: int, needed) -> dict:
    """One convolution with a weight norm, or several without."""
    path = f"{STACK}0/kernel" if depth else "encoder/transformer/position/direction"
    outputs, inputs, kernel = needed(path)
    return dict(
        position_kernel=kernel, position_depth=max(depth, 1), position_groups=outputs // inputs
    )


def _codebooks(needed) -> dict:
    _, rows, size = needed("quantizer/entries")
    code_dim = needed("target_projection/kernel")[1]
    books = code_dim // size
    return dict(
        codebooks=books,
        entries=rows // books,
        code_dim=code_dim,
        final_dim=needed("context_projection/bias")[0],
    )


def _strides(kernels, hints: FileHints, where: str) -> tuple[int, ...]:
    if hints.strides is not None:
        if len(hints.strides) != len(kernels):
            raise InputError(f"{where} has {len(kernels)} convolutions, --strides another number")
        return hints.strides
    if [k[2] for k in kernels] == [kernel for _, kernel, _ in CONV_LAYERS]:
        return tuple(stride for _, _, stride in CONV_LAYERS)
    raise InputError(
        f"{where}: the strides of its {len(kernels)} convolutions cannot be seen in its tensors; "
        "give --strides 5,2,..."
    )


def _heads(width: int, hints: FileHints, where: str) -> int:
    heads = hints.num_heads or RELEASED_HEADS.get(width)
    if heads is None:
        raise InputError(
            f"{where}: the number of attention heads at width {width} cannot be seen in its "
            "tensors; give --heads"
        )
    return heads


def _norm_order(hints: FileHints, where: str) -> str:
    if hints.norm_order is None:
        raise InputError(
            f"{where}: the order of norms cannot be seen in its tensors; give --norm-order post "
            "(BASE, LARGE of LibriSpeech) or pre (LV-60k, XLSR-53, XLS-R)"
        )
    return hints.norm_order
