"""Logical axis names of parameters, and constraints on activations over the mesh."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import flax.struct
import jax
from flax import linen as nn
from jax.sharding import PartitionSpec


@flax.struct.dataclass
class Named(nn.meta.AxisMetadata):
    """A parameter with its logical axis names, which `partition.py` maps to mesh axes.

    Flax's own boxes constrain the value's sharding when they are opened, and fail if the names are
    not mesh axes; this one only carries the names.
    """

    value: jax.Array
    names: tuple[str | None, ...] = flax.struct.field(pytree_node=False)

    def unbox(self) -> jax.Array:
        return self.value

    def replace_boxed(self, val) -> Named:
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict) -> Named:
        names = list(self.names)
        names.insert(index, params[nn.PARTITION_NAME])
        return self.replace(names=tuple(names))

    def remove_axis(self, index: int, params: dict) -> Named:
        names = list(self.names)
        names.pop(index)
        return self.replace(names=tuple(names))


def named(init: Callable, names: tuple[str | None, ...]) -> Callable:
    """An initialiser whose result carries one logical name (or None) per axis."""
    return lambda *args, **kwargs: Named(init(*args, **kwargs), names)


ROWS = ("data", "fsdp")  # the mesh axes that split the batch
HEADS = ("tensor",)  # the one that splits attention heads
EVERY = (*ROWS, *HEADS)
Layout = tuple[tuple[str, ...] | None, ...]  # for an array's first axes what splits each
WHOLE: Layout = ()
ANY = PartitionSpec.UNCONSTRAINED


def free_axes(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the mesh axes that are left to the partitioner: inside a shard_map over data
    (`train_step.summed_gradients`) each device has its own array along data."""
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return tuple(axis for axis in axes if axis not in manual)


def splits(size: int, axes: tuple[str, ...]) -> bool:
    """Whether a mesh is set that leaves several devices to the partitioner, and those along `axes`
    divide `size`."""
    axes = free_axes(axes)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not set(axes) <= set(mesh.axis_names):
        return False
    if math.prod(mesh.shape[name] for name in free_axes(mesh.axis_names)) == 1:
        return False
    return size % math.prod(mesh.shape[name] for name in axes) == 0


def _constrain(x: jax.Array, axis: int, axes: tuple[str, ...], others) -> jax.Array:
    axes = free_axes(axes)
    if not splits(x.shape[axis], axes):
        return x
    spec = [others] * x.ndim
    spec[axis] = axes
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*spec))


def constrain_rows(x: jax.Array, axis: int = 0) -> jax.Array:
    """x with its rows (at `axis`) sharded like those of the batch; other axes follow the weights.

    Without this the compiler may split activations like the fsdp-sharded weights they meet and
    exchange them, which costs more than gathering the weights. No mesh, no constraint.
    """
    return _constrain(x, axis, ROWS, ANY)


def constrain_whole_rows(x: jax.Array) -> jax.Array:
    """x [B, ...] with its rows sharded like those of the batch, and all else whole on each
    device."""
    return _constrain(x, 0, ROWS, None)


def constrain_all_devices(x: jax.Array) -> jax.Array:
    """x [B, ...] with its rows over every device, including the tensor axis, if they divide.

    For the feature encoder: its matrices are too small to split, and its activations the largest.
    """
    spread = _constrain(x, 0, EVERY, None)
    return constrain_whole_rows(x) if spread is x else spread


def run_per_device(
    function: Callable, *arrays, layouts: Sequence[Layout], result: Layout, kernel: bool
) -> jax.Array:
    """function(*arrays), where each device runs the function on its own block of the arrays.

    For what the partitioner cannot split: it would gather the whole batch for a grouped
    convolution, and would let each device compute all of a kernel. Without a mesh, or if the axes
    do not divide, the function is called as it is.

    Args:
      layouts: for each array (or tree of arrays) the mesh axes that split its first axes, as
        `(ROWS, HEADS)` for [B, H, ...] and `(None, ROWS)` for [n, B, ...]; WHOLE on every device.
      result: the same for the function's result.
      kernel: whether the function is a kernel; JAX cannot tell how its result differs by device.
    """
    sizes = [
        (size, axes)
        for array, layout in zip(arrays, layouts, strict=True)
        for leaf in jax.tree.leaves(array)
        for size, axes in zip(leaf.shape, layout, strict=False)
        if axes is not None
    ]
    if not all(splits(size, axes) for size, axes in sizes):
        return function(*arrays)

    rows = free_axes(ROWS)  # those that this very shard_map takes

    def spec(layout: Layout) -> PartitionSpec:
        return PartitionSpec(*(axes if axes is None else free_axes(axes) for axes in layout))

    def local(*blocks):
        if not kernel:
            # Here, and not where they meet the rows, because the gradient of an array that every
            # device holds whole is then summed over devices in this shape.
            blocks = [
                jax.lax.pcast(block, rows, to="varying") if layout == WHOLE else block
                for block, layout in zip(blocks, layouts, strict=True)
            ]
        return function(*blocks)

    return jax.shard_map(
        local,
        in_specs=tuple(map(spec, layouts)),
        out_specs=spec(result),
        axis_names={*free_axes(EVERY)},
        check_vma=not kernel,
    )(*arrays)
