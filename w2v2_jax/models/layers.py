"""The few primitives every part shares: exact GELU, float32 LayerNorm, Dense, gradient scale."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import PartitionSpec

from w2v2_jax.models.contraction import add_bias, contract

EPSILON = 1e-5  # torch's default, everywhere (docs/traps.md#t20)
SQRT_HALF = 0.7071067811865476
LOG2E = math.log2(math.e)  # kernels take exponentials in base 2, the hardware's own
INV_SQRT_TAU = 0.3989422804014327


@flax.struct.dataclass
class Named(nn.meta.AxisMetadata):
    """A parameter with its logical axis names, which `partition.py` maps to mesh axes.

    Flax's own boxes constrain the value's sharding when they are opened and fail where the
    names are not mesh axes; this one only carries the names.
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
    """An initialiser whose result carries one logical name (or None) an axis."""
    return lambda *args, **kwargs: Named(init(*args, **kwargs), names)


ROWS = ("data", "fsdp")  # the mesh axes that split the batch
EVERY = (*ROWS, "tensor")
ANY = PartitionSpec.UNCONSTRAINED


def free_axes(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the mesh's axes that are left to the partitioner: inside a shard_map over data
    (`train_step.summed_gradients`) an array is a device's own along data."""
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return tuple(axis for axis in axes if axis not in manual)


def splits(size: int, axes: tuple[str, ...]) -> bool:
    """Whether a mesh is set that leaves several devices to the partitioner, and `axes` of them
    divide `size`."""
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


def rows(x: jax.Array, axis: int = 0) -> jax.Array:
    """x with its rows (at `axis`) where the batch's are; the other axes as their weights ask.

    Without this the compiler may split activations like the fsdp-sharded weights they meet and
    exchange them, which costs more than gathering the weights. No mesh, no constraint.
    """
    return _constrain(x, axis, ROWS, ANY)


def residual(x: jax.Array) -> jax.Array:
    """x [B, ...] with its rows where the batch's are and everything else whole on each device."""
    return _constrain(x, 0, ROWS, None)


def spread(x: jax.Array) -> jax.Array:
    """x [B, ...] with its rows over every device, the tensor axis too, where they divide.

    For the feature encoder: its matrices are too small to split, its activations are the largest.
    """
    spread = _constrain(x, 0, EVERY, None)
    return residual(x) if spread is x else spread


def by_rows(function: Callable, x: jax.Array, weights: jax.Array) -> jax.Array:
    """function(x [B, ...], weights) -> [B, ...] where every device has its rows and all weights.

    For what the partitioner cannot split by rows: it would gather the whole batch for a grouped
    convolution. Without a mesh, the function itself.
    """
    axes = free_axes(ROWS)
    if not splits(x.shape[0], axes):
        return function(x, weights)
    split = PartitionSpec(axes)

    def local(x, weights):
        # Here, and not where the two meet: the gradient is summed over devices at this shape.
        return function(x, jax.lax.pcast(weights, axes, to="varying"))

    local = jax.shard_map(
        local, in_specs=(split, PartitionSpec()), out_specs=split, axis_names={*free_axes(EVERY)}
    )
    return local(x, weights)


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """Exact (erf) GELU (docs/traps.md#t16); its backward pass needs only the input."""
    half = x.astype(jnp.float32)
    return (half * 0.5 * (1.0 + jax.lax.erf(half * SQRT_HALF))).astype(x.dtype)


def _gelu_forward(x):
    return gelu(x), x


def _gelu_backward(x, gradient):
    value = x.astype(jnp.float32)
    cdf = 0.5 * (1.0 + jax.lax.erf(value * SQRT_HALF))
    slope = cdf + value * INV_SQRT_TAU * jnp.exp(-0.5 * value * value)
    return ((gradient.astype(jnp.float32) * slope).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _scaled(x, scale):
    return x


_scaled.defvjp(lambda x, scale: (x, None), lambda scale, _, gradient: (gradient * scale,))


def scale_gradient(x: jax.Array, scale: float) -> jax.Array:
    """Identity whose gradient is multiplied by `scale` (fairseq GradMultiply); 0 cuts it."""
    return jax.lax.stop_gradient(x) if scale == 0.0 else _scaled(x, scale)


def channels(vector: jax.Array, x: jax.Array) -> jax.Array:
    """vector [C] with the rank of x [..., C]: rank promotion is an error in the tests."""
    return jax.lax.expand_dims(vector, range(x.ndim - 1))


class LayerNorm(nn.Module):
    """LayerNorm over the last axis, in float32 (docs/traps.md#t21), returned in `dtype`."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        shape = (x.shape[-1],)
        names = ("norm",)
        scale = self.param("scale", named(nn.initializers.ones, names), shape)
        bias = self.param("bias", named(nn.initializers.zeros, names), shape)
        x = x.astype(jnp.float32)
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        normalised = centred * jax.lax.rsqrt(variance + EPSILON)
        return (normalised * channels(scale, x) + channels(bias, x)).astype(self.dtype)


def torch_linear_bias(fan_in: int):
    """torch's default bias initialisation: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def torch_linear_kernel(key, shape, dtype=jnp.float32):
    """torch's default Linear weight initialisation: uniform in +-1/sqrt(fan_in)."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Dense(nn.Module):
    """x [..., I] @ kernel [I, O] + bias; axes name the kernel's two logical axes."""

    features: int
    axes: tuple[str | None, str | None]
    kernel_init: nn.initializers.Initializer = torch_linear_kernel
    bias_init: nn.initializers.Initializer | None = None
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        fan_in = x.shape[-1]
        bias_init = self.bias_init or torch_linear_bias(fan_in)
        kernel = self.param("kernel", named(self.kernel_init, self.axes), (fan_in, self.features))
        bias = self.param("bias", named(bias_init, self.axes[1:]), (self.features,))
        dtype = jnp.dtype(self.dtype)
        rows = "abcd"[: x.ndim - 1]
        out = contract(f"{rows}i,io->{rows}o", x.astype(dtype), kernel)
        return add_bias(out, channels(bias, x))
