"""The mesh, the one table from logical axis names to mesh axes, and the shardings that follow."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError

AXES = ("data", "fsdp", "tensor")
KINDS = (AxisType.Auto,) * len(AXES)
# By platform. By default libtpu multiplies in rings of permutes instead of gathering weights and
# scattering gradients over an fsdp axis of 8, at half the speed for XLS-R 2B
# (docs/results/aot.md). On GPU, XLA would try many Triton versions of every matmul, which takes
# minutes to compile (docs/results/speed.md).
COMPILER_OPTIONS = {
    "tpu": {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"},
    "gpu": {"xla_gpu_enable_triton_gemm": False},
}
RULES: dict[str, str | None] = {
    "embed": "fsdp",
    "mlp": "tensor",
    "heads": "tensor",
    "conv_in": "fsdp",
    "conv_out": None,  # the feature encoder splits rows instead: its activations are the largest
    "position_out": None,
    "norm": None,
    "layers": None,
}


def arrange(shape: tuple[int, int, int], devices) -> np.ndarray:
    """The devices as an array of the mesh's shape, with neighbours in the fast axes close together.

    TPU slices are connected by the data-center network, which only the data axis may cross: its
    gradients cross once per step, while the other axes exchange parameters in every layer.
    """
    data, fsdp, tensor = shape
    if devices[0].platform != "tpu":
        return jax.make_mesh(shape, AXES, axis_types=KINDS, devices=devices).devices
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:  # a torus axis may serve two mesh axes: 8 x 2 x 4 chips of a 4 x 4 x 4 cube
        return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    if data % slices:
        raise InputError(
            f"mesh.data={data} is not a multiple of the {slices} slices; only data crosses slices"
        )
    return mesh_utils.create_hybrid_device_mesh(
        (data // slices, fsdp, tensor), (slices, 1, 1), devices, allow_split_physical_axes=True
    )


def make_mesh(*, data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> jax.sharding.Mesh:
    """A mesh over all devices.

    data: number of devices with all parameters, each for different rows; -1 uses all devices that
        the other axes leave.
    fsdp: number of devices over which parameters and moments are sharded, each for different rows.
    tensor: number of devices over which attention heads and feed-forward networks are split.

    Raises InputError when the product is not the number of devices.
    """
    devices = devices if devices is not None else jax.devices()
    if data == -1 and min(fsdp, tensor) >= 1:
        data = max(len(devices) // (fsdp * tensor), 1)
    shape = (data, fsdp, tensor)
    if min(shape) < 1 or math.prod(shape) != len(devices):
        raise InputError(
            f"mesh.data={data} x mesh.fsdp={fsdp} x mesh.tensor={tensor} is not the number of "
            f"devices, {len(devices)}; use mesh.data=-1 to use all that the others leave"
        )
    return jax.sharding.Mesh(arrange(shape, devices), AXES, axis_types=KINDS)


def rows_axis(mesh: jax.sharding.Mesh) -> int:
    """Number of shards of the batch's rows."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_sharding(mesh: jax.sharding.Mesh) -> NamedSharding:
    """Rows sharded over data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def _is_box(leaf) -> bool:
    return isinstance(leaf, nn.meta.AxisMetadata)


def shardings(boxed, mesh: jax.sharding.Mesh, rules: dict[str, str | None] | None = None):
    """The sharding of every leaf of a tree whose parameters are boxed with logical names.

    An axis whose size its mesh axis does not divide is replicated, as is an unboxed leaf.
    """
    table = {**RULES, **(rules or {})}
    boxes = [leaf for leaf in jax.tree.leaves(boxed, is_leaf=_is_box) if _is_box(leaf)]
    known = {*RULES, *(name for leaf in boxes for name in leaf.names if name is not None)}
    for name in set(table) - known:
        raise InputError(f"mesh.rules.{name} is no axis of a parameter; known: {sorted(known)}")

    def place(leaf):
        if not _is_box(leaf):
            return replicated(mesh)
        spec = []
        for size, name in zip(leaf.value.shape, leaf.names, strict=True):
            if name is not None and name not in table:
                raise InputError(f"mesh.rules has no axis {name!r}; known: {sorted(table)}")
            axis = table.get(name)
            if axis is not None and axis not in mesh.shape:
                raise InputError(f"mesh.rules.{name}={axis!r} is not a mesh axis: {AXES}")
            taken = axis is None or axis in spec or size % mesh.shape[axis]
            spec.append(None if taken else axis)
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(place, boxed, is_leaf=_is_box)


def unbox(tree):
    """Plain arrays in place of boxes."""
    return jax.tree.map(lambda leaf: leaf.unbox() if _is_box(leaf) else leaf, tree, is_leaf=_is_box)


class HostRows(NamedTuple):
    """The parts of every global batch, out of `num_parts` equal ones, that this process feeds."""

    parts: tuple[int, ...]
    num_parts: int


def host_rows(mesh: jax.sharding.Mesh) -> HostRows:
    """Which rows this process's devices hold. It is read from the sharding, because a mesh may
    order the processes in any way, and two of them may hold the same rows (a tensor axis)."""
    count = rows_axis(mesh)
    places = batch_sharding(mesh).addressable_devices_indices_map((count,)).values()
    return HostRows(tuple(sorted({rows.start or 0 for (rows,) in places})), count)


def global_batch(local: Batch, mesh: jax.sharding.Mesh) -> Batch:
    """This process's rows, in the order of its parts (`host_rows`) -> the global batch."""
    sharding, (parts, num_parts) = batch_sharding(mesh), host_rows(mesh)

    def place(rows):
        rows = np.asarray(rows)
        size = len(rows) // len(parts)

        def piece(index):
            first = parts.index((index[0].start or 0) // size) * size
            return rows[first : first + size]

        shape = (size * num_parts, *rows.shape[1:])
        return jax.make_array_from_callback(shape, sharding, piece)

    return jax.tree.map(place, local)


def axis_names(objective):
    """Parameter path -> logical axis names, for documentation and tests."""
    boxed = jax.eval_shape(objective.init, jax.random.key(0))
    is_box = lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)  # noqa: E731
    leaves = jax.tree_util.tree_leaves_with_path(boxed, is_leaf=is_box)
    return {"/".join(k.key for k in path): leaf.names for path, leaf in leaves}
