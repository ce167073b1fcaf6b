"""Tables of parameter names: our path, the other framework's names, the layout between them.

This file has the layouts and functions for any table; the table of each framework is in a separate
file, `*_names.py`.

torch has Linear weights as [out, in] and Conv1d weights as [out, in, k], with one tensor per layer
and separate ones for q, k and v. Here they are [in, out] and [k, in, out], with layers stacked on a
leading axis, and q, k, v fused. Every transform only moves elements, so round trips are bit-exact.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple

import jax
import numpy as np

from w2v2_jax import partition
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import Execution
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.trees import flatten, nest

Shape = tuple[int, ...]


class Transform(NamedTuple):
    """split: our array -> their arrays; join: their arrays and our shape -> our array."""

    split: Callable[[Any], tuple]
    join: Callable[[list, Shape], Any]


def _one(split, join) -> Transform:
    return Transform(lambda x: (split(x),), lambda parts, shape: join(parts[0], shape))


TRANSFORMS: dict[str, Transform] = {
    "same": _one(lambda x: x, lambda x, shape: x),
    "linear": _one(lambda x: x.T, lambda x, shape: x.T),
    "convolution": _one(lambda x: x.transpose(2, 1, 0), lambda x, shape: x.transpose(2, 1, 0)),
    "time_delay": _one(  # [k, in, out] <-> [out, k in]
        lambda x: x.transpose(2, 0, 1).reshape(x.shape[2], -1),
        lambda x, shape: x.reshape(shape[2], *shape[:2]).transpose(1, 2, 0),
    ),
    "magnitude": _one(lambda x: x.reshape(1, 1, -1), lambda x, shape: x.reshape(shape)),
    "entries": _one(  # [G, V, c] <-> [1, G V, c]
        lambda x: x.reshape(1, -1, x.shape[-1]), lambda x, shape: x.reshape(shape)
    ),
    "out": _one(  # [H, d, D] <-> [D, H d]
        lambda x: x.reshape(-1, x.shape[-1]).T, lambda x, shape: x.T.reshape(shape)
    ),
    "qkv": Transform(  # [D, 3, H, d] <-> 3 x [H d, D]
        lambda x: tuple(x[:, i].reshape(x.shape[0], -1).T for i in range(3)),
        lambda parts, shape: np.stack([x.T.reshape(shape[0], *shape[2:]) for x in parts], axis=1),
    ),
    "qkv_bias": Transform(  # [3, H, d] <-> 3 x [H d]
        lambda x: tuple(x[i].reshape(-1) for i in range(3)),
        lambda parts, shape: np.stack([x.reshape(shape[1:]) for x in parts]),
    ),
}

STACKED = "encoder/transformer/layers/"

# (our path, their names, transform); {i} counts layers, which our STACKED paths hold in one array.
Table = tuple[tuple[str, tuple[str, ...], str], ...]


def legacy_weight_norm(convolution: str) -> dict[str, str]:
    """torch's newer names -> its older ones of a convolution's weight norm. The values are the
    same, and files with either are about."""
    newer = f"{convolution}parametrizations.weight.original"
    return {f"{newer}0": f"{convolution}weight_g", f"{newer}1": f"{convolution}weight_v"}


def expected(
    model: ModelConfig,
    *,
    parts: Iterable[str],
    classes: int = 0,
    objective: type[Objective] | None = None,
) -> dict[str, Shape]:
    """Our paths and shapes of a network; parts are the wanted top-level names ("encoder", ...).

    objective: the objective of the network. By default one of the two that files of other
    frameworks have: CTC, or pretraining if no head is wanted.
    """
    parts = frozenset(parts)
    if objective is None:
        objective = CTC if "head" in parts else Contrastive
    return dict(_expected(objective, model, parts, classes))  # type: ignore[arg-type]


@functools.lru_cache(maxsize=64)
def _expected(
    objective: type[Objective], model: ModelConfig, wanted: frozenset[str], classes: int
) -> dict[str, Shape]:
    scanned = Execution(scan_layers=True)  # the same tree, traced faster
    boxed = jax.eval_shape(objective.for_network(model, classes, scanned).init, jax.random.key(0))
    return {
        path: leaf.shape
        for path, leaf in flatten(partition.unbox(boxed)).items()
        if path.split("/")[0] in wanted
    }


def _row(path: str, table: Table) -> tuple[tuple[str, ...], Transform]:
    for ours, theirs, transform in table:
        match = re.fullmatch(ours.replace("{i}", r"(\d+)"), path)
        if match and "{i}" in ours:
            theirs = tuple(name.replace("{i}", match[1]) for name in theirs)
        if match:
            return theirs, TRANSFORMS[transform]
    raise InputError(f"parameter {path} has no name in this format")


def layer_names(path: str, shape: Shape, table: Table) -> list[tuple[str, ...]]:
    """Their names for one of our arrays: a tuple per layer (one tuple if it is not stacked)."""
    theirs, _ = _row(path, table)
    layers = range(shape[0]) if path.startswith(STACKED) else range(1)
    return [tuple(name.replace("{i}", str(layer)) for name in theirs) for layer in layers]


def their_names(shapes: Mapping[str, Shape], table: Table) -> list[str]:
    """Every name behind our paths and shapes, sorted."""
    layers = [names for path, shape in shapes.items() for names in layer_names(path, shape, table)]
    return sorted(name for names in layers for name in names)


def split(params, table: Table) -> dict[str, np.ndarray]:
    """Our parameters -> {their name: contiguous array}; InputError for one without a name."""
    tensors = {}
    for path, leaf in flatten(params).items():
        _, transform = _row(path, table)
        layers = leaf if path.startswith(STACKED) else [leaf]
        for names, array in zip(layer_names(path, leaf.shape, table), layers, strict=True):
            for name, part in zip(names, transform.split(np.asarray(array)), strict=True):
                tensors[name] = np.ascontiguousarray(part)
    return tensors


def join(
    tensors: MutableMapping[str, np.ndarray],
    shapes: dict[str, Shape],
    table: Table,
    *,
    where: str,
    spend: bool = False,
) -> dict:
    """{their name: array} -> our nested float32 parameters of `shapes`, every one of them.

    spend: take the tensors out of the mapping as they are used, so that memory holds them once.
    Raises InputError that names the first tensor that is missing, quantized or of another shape.
    """
    flat = {}
    for path, shape in shapes.items():
        _, transform = _row(path, table)
        stacked = path.startswith(STACKED)
        layers = [
            _join(tensors, theirs, transform, shape[1:] if stacked else shape, where)
            for theirs in layer_names(path, shape, table)
        ]
        if spend:
            for name in (name for theirs in layer_names(path, shape, table) for name in theirs):
                del tensors[name]
        flat[path] = np.stack(layers) if stacked else layers[0]
    return nest(flat)


def _join(tensors, theirs, transform: Transform, shape: Shape, where: str) -> np.ndarray:
    sample = jax.ShapeDtypeStruct(shape, np.float32)
    needed = jax.eval_shape(transform.split, sample)
    parts = []
    for name, need in zip(theirs, needed, strict=True):
        if name not in tensors:
            raise InputError(f"{where} has no tensor {name}")
        kind = tensors[name].dtype
        if kind.kind in "biu":  # the scales are in other tensors, in many ways
            raise InputError(f"{where}: {name} is {kind}, quantized; give a copy in floating point")
        if tensors[name].shape != need.shape:
            raise InputError(
                f"{where}: {name} is {list(tensors[name].shape)}, "
                f"its configuration needs {list(need.shape)}"
            )
        parts.append(np.asarray(tensors[name], np.float32))
    return np.ascontiguousarray(transform.join(parts, shape))
