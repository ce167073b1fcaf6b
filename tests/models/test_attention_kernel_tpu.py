"""The TPU kernels of attention, interpreted: the plain formulation, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.jaxprs import equations
from w2v2_jax import partition
from w2v2_jax.models import attention, attention_kernel_tpu, backend, row_random
from w2v2_jax.models.attention_kernel_tpu import attend, heads_at_once, runs
from w2v2_jax.models.transformer import REMAT_POLICIES

EQUAL = functools.partial(np.testing.assert_allclose, rtol=0)


def plain(qkv, real, keys, rate):
    """The same of the same arrays: [B, 3, H, S, T] -> [B, H, S, T]."""
    query, key, value = qkv[:, 0], qkv[:, 1], qkv[:, 2]
    scores = jnp.einsum("bhsq,bhsk->bhqk", query * query.shape[2] ** -0.5, key)
    weights = jax.nn.softmax(jnp.where(real[:, None, None, :], scores, -1e30), axis=-1)
    return jnp.einsum("bhqk,bhsk->bhsq", row_random.dropout(weights, rate, keys), value)


def case(rows, heads, width, frames, *, scale=1.0, dtype="float32"):
    """(qkv, what the result is multiplied with, real frames, keys)."""
    random = np.random.default_rng(0)
    qkv = (
        random.normal(size=(rows, 3, heads, width, frames))
        * np.array([scale, scale, 1])[:, None, None, None]
    )
    target = random.normal(size=(rows, heads, width, frames))
    real = jnp.arange(frames)[None] < np.linspace(frames, 1, rows).astype(int)[:, None]
    keys = jax.random.split(jax.random.key(0), rows)
    return jnp.asarray(qkv, dtype), jnp.asarray(target, jnp.float32), real, keys


@functools.partial(jax.jit, static_argnums=(0, 5))
def found(formulation, qkv, target, real, keys, rate):
    """(output, gradients of its product with target)."""

    def value(qkv):
        out = formulation(qkv, real, keys, rate)
        return (out * target).sum(), out

    gradient, out = jax.grad(value, has_aux=True)(qkv)
    return out, gradient


def compare(arguments, rate, tolerance):
    got, expected = (found(one, *arguments, rate) for one in (attend, plain))
    for ours, theirs in zip(got, expected, strict=True):
        EQUAL(ours, theirs, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("frames", "rate"), [(5, 0.3), (16, 0.0), (130, 0.3), (400, 0.3), (400, 0.0)]
)
def test_the_kernels_are_plain_attention_with_its_gradients(frames, rate):
    # Less than a block; whole vectors; a block and two frames; an uneven number of turns.
    compare(case(3, 2, 16, frames), rate, 1e-5)


def test_scores_in_the_hundreds_do_not_overflow():
    compare(case(2, 1, 16, 40, scale=10.0), 0.0, 1e-4)


def test_several_heads_in_one_step_are_those_of_several_steps(monkeypatch):
    arguments = case(2, 3, 16, 140)
    expected = found(attend, *arguments, 0.1)
    asked = []
    monkeypatch.setattr(attention_kernel_tpu, "heads_at_once", lambda *_: asked.append(1) or 1)
    again = found(lambda *x: attend(*x), *arguments, 0.1)  # another function, so traced anew
    assert asked and heads_at_once(3, 140, 16, 4) == 3
    for ours, theirs in zip(again, expected, strict=True):
        EQUAL(ours, theirs, atol=1e-6)


def test_a_row_without_a_real_frame_averages_its_frames_with_finite_gradients():
    qkv, target, real, _ = case(2, 2, 16, 20)
    out, gradient = found(attend, qkv, target, real & False, None, 0.0)
    mean = qkv[:, 2].mean(-1, keepdims=True)
    EQUAL(out, jnp.broadcast_to(mean, out.shape), atol=1e-6)
    assert np.isfinite(gradient).all()


def test_in_half_precision_the_kernels_are_as_exact_as_the_plain_formulation():
    half, target, real, keys = case(2, 2, 32, 150, scale=0.7, dtype="bfloat16")
    exact = found(plain, half.astype(jnp.float32), target, real, keys, 0.1)

    def errors(formulation):
        got = found(formulation, half, target, real, keys, 0.1)
        pairs = zip(got, exact, strict=True)
        return [np.linalg.norm(a.astype(np.float32) - b) / np.linalg.norm(b) for a, b in pairs]

    assert np.all(np.array(errors(attend)) < 1.2 * np.array(errors(plain))), errors(attend)


def in_half(shape, rate=0.1):
    qkv, _, real, keys = case(*shape, dtype="bfloat16")
    return qkv, lambda qkv: attend(qkv, real, keys, rate).astype(jnp.float32).sum()


def test_the_kernels_lower_to_mosaic_for_a_tpu(monkeypatch):
    monkeypatch.setattr(attention_kernel_tpu, "platform", lambda: "tpu")
    qkv, value = in_half((2, 4, 64, 781))
    traced = jax.jit(jax.grad(value)).trace(qkv)
    assert len(equations(traced.jaxpr.jaxpr, "pallas_call")) == 2
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("@tpu_custom_call") == 2


@pytest.mark.parametrize(("policy", "kernels"), [("dots", 2), ("attention", 2), ("full", 3)])
def test_a_remat_policy_that_keeps_attention_does_not_run_the_kernel_again(policy, kernels):
    qkv, value = in_half((2, 2, 16, 20))
    again = jax.checkpoint(value, policy=REMAT_POLICIES[policy])
    assert len(equations(jax.make_jaxpr(jax.grad(again))(qkv).jaxpr, "pallas_call")) == kernels


def test_on_a_mesh_every_device_computes_its_rows_and_heads_alone():
    qkv, value = in_half((8, 2, 16, 20))
    expected = jax.jit(jax.value_and_grad(value))(qkv)
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
    placed = jax.device_put(qkv, partition.batch_sharding(mesh))
    with jax.set_mesh(mesh):
        traced = jax.jit(jax.value_and_grad(value)).trace(placed)
        got = traced.lower().compile()(placed)
    kernels = equations(traced.jaxpr.jaxpr, "pallas_call")
    assert {kernel.invars[0].aval.shape[:3] for kernel in kernels} == {(2, 3, 1)}
    for a, b in zip(got, expected, strict=True):
        EQUAL(a.astype(np.float32), b.astype(np.float32), atol=2e-2)


@pytest.mark.parametrize(
    ("sizes", "heads", "manual", "rate"),
    [
        ((2, 2, 2), 2, (), 0.1),
        ((2, 2, 2), 3, (), 0.0),
        ((8, 1, 1), 2, ("data",), 0.0),
        ((2, 4, 1), 2, ("data",), 0.1),
    ],
    ids=["all axes", "heads that do not divide", "data alone", "data first"],
)
def test_the_kernels_lower_on_every_mesh(sizes, heads, manual, rate, monkeypatch):
    """JAX refuses kernels for TPU that it would have to partition."""
    monkeypatch.setattr(attention_kernel_tpu, "platform", lambda: "tpu")
    qkv, _, real, keys = case(8, heads, 16, 20, dtype="bfloat16")

    def slope(qkv, real, keys):
        return jax.grad(lambda qkv: attend(qkv, real, keys, rate).astype(jnp.float32).sum())(qkv)

    if manual:
        rows = jax.sharding.PartitionSpec(manual)
        slope = jax.shard_map(
            slope, in_specs=rows, out_specs=rows, axis_names={*manual}, check_vma=False
        )
    mesh = partition.make_mesh(**dict(zip(("data", "fsdp", "tensor"), sizes, strict=True)))
    with jax.set_mesh(mesh):
        placed = jax.device_put((qkv, real, keys), partition.batch_sharding(mesh))
        text = jax.jit(slope).trace(*placed).lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("@tpu_custom_call") == 2


def test_the_formulation_is_the_plain_one_with_its_gradients():
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)  # noqa: E731
    weights = draw(2, 21, 32), 0.3 * draw(32, 3, 2, 16), draw(3, 2, 16), draw(2, 16, 32)
    real = jnp.arange(21)[None] < jnp.array([[21], [9]])
    keys = jax.random.split(jax.random.key(0), 2)

    def run(attend):
        def value(*weights):
            out = jnp.where(real[..., None], attend(*weights, real, keys, 0.3), 0)
            return (out**2).sum(), out

        gradients, out = jax.jit(jax.grad(value, range(4), has_aux=True))(*weights)
        return out, *gradients

    for ours, theirs in zip(run(attention.tpu_kernel), run(attention.plain), strict=True):
        EQUAL(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("heads", [12, 16])
def test_rows_of_forty_seconds_fit(heads):
    most = [heads_at_once(heads, frames, 64, 2) for frames in (500, 781, 1500, 2000)]
    assert most == [heads // 2, 4, 2, 1]
    assert not runs(heads, 9000, 64, "bfloat16")
    assert not runs(heads, 781, 120, "bfloat16")  # the width of the network with 2B parameters


def test_a_row_that_is_too_long_has_few_passes(monkeypatch):
    called = []
    monkeypatch.setattr(attention, "few_passes", lambda *operands: called.append(1) or operands[0])
    x, kernel = jnp.zeros((1, 9000, 16)), jnp.zeros((16, 3, 1, 16))
    arguments = x, kernel, jnp.zeros((3, 1, 16)), jnp.zeros((1, 16, 16)), jnp.ones((1, 9000), bool)
    jax.eval_shape(lambda *x: attention.tpu_kernel(*x, None, 0.0), *arguments)
    assert called


def test_the_kernel_is_taken_where_it_runs(monkeypatch):
    half = dict(dtype="bfloat16", size=64)
    monkeypatch.setattr(attention, "platform", lambda: "tpu")
    assert attention.choose("auto", **half) is attention.tpu_kernel
    assert attention.choose("auto", dtype="float32", size=64) is attention.tpu_few_passes
    monkeypatch.setattr(backend, "mosaic", None)
    assert attention.choose("auto", **half) is attention.tpu_few_passes
    assert attention.choose("tpu_kernel", **half) is attention.tpu_few_passes
