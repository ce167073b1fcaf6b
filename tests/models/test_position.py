"""The positional convolution: equal formulations, its alignment and its weight norm."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax import partition
from w2v2_jax.models import position
from w2v2_jax.models.layers import gelu
from w2v2_jax.models.position import (
    PositionalConvolution,
    blocked_backward,
    conv_per_group,
    grouped_conv,
    paired_groups_conv,
    toeplitz_backward,
    toeplitz_matmul,
)


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def direct(x, kernel, groups):
    """Loops: frame t sees frames t - k // 2 ... of its own group's channels."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    width, inputs, outputs = kernel.shape
    size = outputs // groups
    out = np.zeros((*x.shape[:2], outputs))
    for t in range(x.shape[1]):
        for k in range(width):
            source = t - width // 2 + k
            if 0 <= source < x.shape[1]:
                for g in range(groups):
                    o = slice(g * size, (g + 1) * size)
                    out[:, t, o] += x[:, source, g * inputs : (g + 1) * inputs] @ kernel[k, :, o]
    return out


@pytest.mark.parametrize("width", [8, 5])
@pytest.mark.parametrize(
    "formulation",
    [
        grouped_conv,
        toeplitz_backward,
        paired_groups_conv,
        blocked_backward,
        conv_per_group,
        toeplitz_matmul,
    ],
)
def test_every_formulation_is_the_direct_sum_with_even_and_odd_kernels(formulation, width):
    x, kernel = random(2, 13, 6), random(width, 2, 6, seed=1)  # 13 frames: no whole blocks
    got = jax.jit(formulation, static_argnums=2)(x, kernel, 3)
    np.testing.assert_allclose(got, direct(x, kernel, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "frames"), [(8, 13), (5, 13), (20, 4), (9, 24), (1, 8)])
def test_every_formulation_has_the_same_gradients(width, frames):
    x, kernel, target = (
        random(*shape, seed=seed)
        for seed, shape in enumerate([(2, frames, 6), (width, 2, 6), (2, frames, 6)])
    )

    def gradients(formulation):
        value = lambda x, kernel: (formulation(x, kernel, 3) * target).sum()  # noqa: E731
        return jax.jit(jax.grad(value, (0, 1)))(x, kernel)

    expected = gradients(grouped_conv)
    others = {*position.FORMULATIONS.values()} - {grouped_conv}
    for formulation in others:
        for a, b in zip(gradients(formulation), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def result_and_gradients(formulation, x, kernel, target):
    """The result for 3 groups, and the gradients of its product with the target, by one program."""

    @jax.jit
    def both(x, kernel, target):
        result, back = jax.vjp(lambda x, kernel: formulation(x, kernel, 3), x, kernel)
        return result, *back(target)

    return both(x, kernel, target)


@pytest.mark.parametrize("width", [8, 5])
def test_windows_as_on_gpu_are_those_on_cpu_with_their_gradients(width, monkeypatch):
    x, kernel, target = random(2, 37, 6), random(width, 2, 6, seed=1), random(2, 37, 6, seed=2)
    expected = result_and_gradients(toeplitz_matmul, x, kernel, target)
    monkeypatch.setattr(position, "platform", lambda: "gpu")
    assert position.choose("auto") is toeplitz_matmul
    found = result_and_gradients(toeplitz_matmul, x, kernel, target)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("formulation", "where"),
    [
        (grouped_conv, "cpu"),
        (paired_groups_conv, "tpu"),
        (blocked_backward, "tpu"),
        (toeplitz_matmul, "gpu"),
    ],
)
def test_on_a_mesh_rows_stay_apart_and_the_kernels_gradient_is_summed_at_its_size(
    formulation, where, monkeypatch
):
    monkeypatch.setattr(position, "platform", lambda: where)
    x, kernel, target = random(8, 13, 6), random(5, 2, 6, seed=1), random(8, 13, 6, seed=2)
    value = lambda x, kernel: (formulation(x, kernel, 3) * target).sum()  # noqa: E731
    gradients = jax.value_and_grad(value, (0, 1))
    expected = jax.jit(gradients)(x, kernel)
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
    rows, whole = partition.batch_sharding(mesh), partition.replicated(mesh)
    with jax.set_mesh(mesh):
        compiled = jax.jit(gradients, in_shardings=(rows, whole)).lower(x, kernel).compile()
        got = compiled(jax.device_put(x, rows), jax.device_put(kernel, whole))
    text = compiled.as_text()
    assert "all-gather" not in text and "all-to-all" not in text
    sums = [line for line in text.splitlines() if " all-reduce(" in line]
    assert any("f32[5,2,6]" in line for line in sums), sums
    shapes = [found for line in sums for found in re.findall(r"f32\[([\d,]*)\]", line)]
    assert max(math.prod(int(n) for n in shape.split(",") if n) for shape in shapes) == 5 * 2 * 6
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "formulation"),
    [
        ("TPU v4", paired_groups_conv), ("TPU v5 lite", paired_groups_conv),
        ("TPU v5p", paired_groups_conv), ("TPU v6 lite", blocked_backward),
    ],
)  # fmt: skip
def test_auto_is_a_formulation_that_libtpu_compiles(kind, formulation, monkeypatch):
    monkeypatch.setattr(position, "platform", lambda: "tpu")
    monkeypatch.setattr(position, "device_kind", lambda: kind)
    assert position.choose("auto") is formulation


def test_bfloat16_gradients_of_a_float32_kernel_are_sums_in_float32():
    x, kernel, target = random(2, 37, 6), random(8, 2, 6, seed=1), random(2, 37, 6, seed=2)
    x, target = (x.astype(jnp.bfloat16) for x in (x, target))
    (_, for_x, for_kernel), (_, expected_x, expected) = (
        result_and_gradients(f, x, kernel, target) for f in (blocked_backward, grouped_conv)
    )
    assert for_x.dtype == jnp.bfloat16 and for_kernel.dtype == jnp.float32
    np.testing.assert_allclose(for_kernel, expected, rtol=1e-4, atol=1e-4)
    as_32 = [np.asarray(g, np.float32) for g in (for_x, expected_x)]
    np.testing.assert_allclose(*as_32, rtol=0.02, atol=0.02)


def module(tiny, **changes):
    config = dataclasses.replace(tiny, **changes)
    network = PositionalConvolution(config)
    init = lambda key: network.init(key, jnp.zeros((1, 4, config.d_model)))  # noqa: E731
    params = partition.unbox(jax.jit(init)(jax.random.key(0)))
    return network, params["params"]


def test_an_even_kernel_of_128_sees_64_frames_back_and_63_ahead(tiny):
    network, params = module(tiny, position_kernel=128)
    apply = jax.jit(lambda x: network.apply({"params": params}, x))
    x = jnp.zeros((1, 300, 16)).at[0, 150].set(1.0)
    changed = np.abs(apply(x) - apply(0 * x)).max(-1)[0] > 1e-6
    assert np.nonzero(changed)[0].min() == 150 - 63
    assert np.nonzero(changed)[0].max() == 150 + 64


def test_the_weight_norm_has_one_magnitude_a_tap_over_both_channel_axes(tiny):
    network, params = module(tiny)
    assert params["magnitude"].shape == (8,)
    np.testing.assert_allclose(
        params["magnitude"], np.sqrt(np.square(params["direction"]).sum((1, 2))), rtol=1e-5
    )
    changed = {**params, "direction": 3 * params["direction"]}  # the direction's length is nothing
    changed["magnitude"] = params["magnitude"].at[2].multiply(2.0)
    x = random(2, 13, 16)
    kernel = params["direction"].at[2].multiply(2.0)
    expected = gelu(grouped_conv(x, kernel, 2))
    np.testing.assert_allclose(
        network.apply({"params": changed}, x), expected, rtol=1e-3, atol=1e-5
    )


def test_the_direction_starts_with_variance_4_over_kernel_times_width(tiny):
    _, params = module(tiny, d_model=128, position_kernel=32)
    assert np.std(params["direction"]) == pytest.approx(np.sqrt(4 / (32 * 128)), rel=0.02)
    assert not np.asarray(params["bias"]).any()
