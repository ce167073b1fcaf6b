"""Faster ways to compute the same: equal values and gradients, and what they are chosen for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from w2v2_jax.models import (
    attention,
    feature_extractor,
    mixed_precision,
    position,
    row_random,
    strided_conv,
    transformer,
    wav2vec2,
)
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.layer_stack import join_layers, split_layers, unstack
from w2v2_jax.models.mixed_precision import contract
from w2v2_jax.objectives import contrastive
from w2v2_jax.objectives.ctc import CTC

SPECS = ("btd,dchs->cbhts", "bhqs,bhks->bhqk", "bhqk,bhks->bhqs", "gns,gso->gno", "abi,io->abo")
SIZES = dict(zip("abcdghikonqst", (2, 3, 4, 5, 3, 2, 6, 7, 4, 5, 7, 8, 9), strict=True))


def operands(spec):
    random = np.random.default_rng(0)
    shapes = [[SIZES[letter] for letter in part] for part in spec.split("->")[0].split(",")]
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]


def value_and_gradients(function, *arguments):
    def loss(*arguments):
        out = function(*arguments).astype(jnp.float32)
        return (out * jnp.cos(jnp.arange(out.size).reshape(out.shape))).sum(), out

    every = tuple(range(len(arguments)))
    return jax.jit(jax.value_and_grad(loss, every, has_aux=True))(*arguments)


HALVES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [("bfloat16", 0.02), ("float16", 0.003)], ids=lambda x: str(x)
)


@HALVES
@pytest.mark.parametrize("spec", SPECS)
def test_a_half_contraction_is_the_float32_one_rounded_with_its_gradients(spec, dtype, tolerance):
    a, b = operands(spec)
    (_, out), gradients = value_and_gradients(lambda a, b: contract(spec, a.astype(dtype), b), a, b)
    (_, expected), theirs = value_and_gradients(lambda a, b: jnp.einsum(spec, a, b), a, b)
    for got, want in zip((out, *gradients), (expected, *theirs), strict=True):
        np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_float32_weight_of_a_half_contraction_gets_a_gradient_that_was_not_rounded(dtype):
    a, b = operands("abi,io->abo")
    weight = lambda b: contract("abi,io->abo", a.astype(dtype), b)  # noqa: E731
    gradient = value_and_gradients(weight, b)[1][0]
    assert gradient.dtype == jnp.float32
    assert (gradient != gradient.astype(dtype).astype(jnp.float32)).any()


@HALVES
@pytest.mark.parametrize("where", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("stride", "pad", "groups"), [(1, (0, 0), 1), (2, (0, 0), 1), (3, (2, 1), 1), (1, (3, 2), 2)]
)
def test_a_convolution_with_a_float32_kernel_is_the_float32_one_rounded(
    stride, pad, groups, where, dtype, tolerance, monkeypatch
):
    monkeypatch.setattr(mixed_precision, "platform", lambda: where)
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(3, 29, 4)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(5, 4 // groups, 6)), jnp.float32)
    options = dict(stride=stride, pad=pad, groups=groups)
    convolve = lambda x, kernel: mixed_precision.convolve(x, kernel, **options)  # noqa: E731
    narrow = lambda x, kernel: convolve(x.astype(dtype), kernel)  # noqa: E731
    (_, out), gradients = value_and_gradients(narrow, x, kernel)
    (_, expected), theirs = value_and_gradients(convolve, x, kernel)
    for got, want in zip((out, *gradients), (expected, *theirs), strict=True):
        np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("where", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(
    ("norm", "dtype"), [("group", "bfloat16"), ("layer", "bfloat16"), ("layer", "float16")]
)
def test_no_parameters_gradient_of_a_half_network_was_rounded(
    norm, dtype, where, quiet, random_params, make_batch, monkeypatch
):
    for module in (attention, mixed_precision, contrastive, feature_extractor, position, wav2vec2):
        monkeypatch.setattr(module, "platform", lambda: where)
    config = dataclasses.replace(
        quiet, extractor_norm=norm, conv_bias=norm == "layer", num_layers=1
    )
    objective = contrastive.Contrastive(
        config, diversity_group_seconds=0.1, num_negatives=10, execution=Execution(dtype=dtype)
    )
    batch = make_batch(rows=2, labels=False)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(2))
    loss = lambda params: objective.loss(params, batch, keys, 0).loss  # noqa: E731
    gradients = jax.device_get(jax.jit(jax.grad(loss))(random_params(objective)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert leaf.dtype == np.float32
        rounded = leaf == leaf.astype(jnp.dtype(dtype)).astype(np.float32)
        assert not rounded.all(), jax.tree_util.keystr(path)


def matmuls(jaxpr) -> int:
    """dot_general in a jaxpr and inside it; the lowered text has equal calls' bodies once."""
    inner = [jaxprs_in_params(equation.params) for equation in jaxpr.eqns]
    own = sum(equation.primitive.name == "dot_general" for equation in jaxpr.eqns)
    return own + sum(matmuls(one) for group in inner for one in group)


@pytest.mark.parametrize(("policy", "count"), [("dots", 3), ("full", 4)])
def test_a_remat_policy_that_keeps_matmuls_keeps_contractions(policy, count):
    a, b = operands("abi,io->abo")
    a = a.astype(jnp.bfloat16)
    layer = jax.checkpoint(
        lambda a, b: jnp.sin(contract("abi,io->abo", a, b)),
        policy=transformer.REMAT_POLICIES[policy],
    )
    loss = lambda a, b: layer(a, b).astype(jnp.float32).sum()  # noqa: E731
    # Forward, its two gradients, and with "full" the forward once more.
    assert matmuls(jax.make_jaxpr(jax.grad(loss, (0, 1)))(a, b).jaxpr) == count


@pytest.mark.parametrize(("dtype", "short"), [("bfloat16", "bf16"), ("float16", "xf16")])
def test_products_have_operands_of_the_dtype_and_float32_sums_on_cpu(dtype, short):
    a, b = operands("bhqs,bhks->bhqk")
    a, b = a.astype(dtype), b.astype(dtype)
    loss = lambda a, b: contract("bhqs,bhks->bhqk", a, b, "float32").sum()  # noqa: E731
    text = jax.jit(jax.grad(loss, (0, 1))).lower(a, b).as_text()
    dots = [line for line in text.splitlines() if "dot_general" in line]
    assert len(dots) >= 2
    for line in dots:
        arguments, result = line.split(" : ")[-1].split(" -> ")
        assert arguments.count(short) == 2 and "f32" in result and short not in result


def test_convolutions_are_chosen_by_device_and_precision(monkeypatch):
    choose = strided_conv.choose
    assert choose("auto", jnp.dtype("bfloat16")) is strided_conv.strided_matmul
    for dtype in ("float16", "float32"):
        assert choose("auto", jnp.dtype(dtype)) is strided_conv.phased_conv
    monkeypatch.setattr(strided_conv, "platform", lambda: "gpu")
    for dtype in ("bfloat16", "float16", "float32"):
        assert strided_conv.formulation_name("auto", jnp.dtype(dtype)) == "one_matmul"
    assert mixed_precision.platform() == "cpu"


@pytest.mark.parametrize(
    ("name", "rate"),
    [("late_division", 0.0), ("late_division", 0.3), ("tpu_few_passes", 0.3), ("gpu_kernel", 0.3)],
)
def test_attention_formulations_are_equal_with_their_gradients(name, rate):
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)  # noqa: E731
    real = jnp.arange(7)[None] < jnp.array([[7], [4]])
    keys = jax.random.split(jax.random.key(0), 2)

    def run(attend):
        def real_rows(*arguments):
            out = attend(*arguments, real, keys, rate)
            return jnp.where(real[..., None], out, 0)

        arguments = draw(2, 7, 8), 0.5 * draw(8, 3, 2, 4), draw(3, 2, 4), draw(2, 4, 8)
        (_, out), gradients = value_and_gradients(real_rows, *arguments)
        return out, *gradients

    random = np.random.default_rng(0)
    got = run(attention.FORMULATIONS[name])
    random = np.random.default_rng(0)
    for ours, expected in zip(got, run(attention.plain), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


def test_unstacked_layers_have_the_gradients_of_slices():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    use = lambda parts: sum((i + 1) * (part**2).sum() for i, part in enumerate(parts))  # noqa: E731
    got = jax.grad(lambda x: use(unstack(x)))(x)
    np.testing.assert_array_equal(got, jax.grad(lambda x: use([x[i] for i in range(3)]))(x))


@pytest.mark.slow
def test_the_gradient_of_unrolled_layers_holds_no_padding_to_the_stack(
    tiny, random_params, monkeypatch
):
    objective = CTC(dataclasses.replace(tiny, num_layers=3), 9)
    params = random_params(objective)
    audio = jnp.zeros((1, 1000)), jnp.array([1000])
    loss = lambda p: objective.network.apply({"params": p}, *audio)[0].sum()  # noqa: E731
    padding = "f32[3,16,32] = pad"  # of the gradient of one feed_forward_in kernel
    assert padding not in str(jax.make_jaxpr(jax.grad(loss))(params))
    monkeypatch.setattr(transformer, "unstack", lambda x: [x[i] for i in range(len(x))])
    assert padding in str(jax.make_jaxpr(jax.grad(lambda p: loss(p) + 0))(params))


@pytest.mark.slow
def test_split_layers_come_back_and_compile_to_no_stack(tiny, random_params):
    objective = CTC(tiny, 9)
    params = random_params(objective)
    divided = split_layers(params)
    jax.tree.map(np.testing.assert_array_equal, join_layers(divided), params)

    def run(params, waveforms, counts):
        return objective.network.apply({"params": join_layers(params)}, waveforms, counts)[0]

    audio = jnp.ones((1, 1000)), jnp.array([1000])
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    compiled = jax.jit(run).lower(divided, *audio).compile(options)
    assert "f32[2,16,32]" not in compiled.as_text()
    np.testing.assert_allclose(
        compiled(divided, *audio), run(params, *audio), rtol=1e-4, atol=1e-5
    )  # fmt: skip
