"""The feature encoder: frame counts, equal formulations, normalisation over real frames only."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.jaxprs import equations
from w2v2_jax import partition
from w2v2_jax.models import feature_extractor, first_layer, first_layer_gpu, layers
from w2v2_jax.models.config import CONV_LAYERS
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.feature_extractor import FeatureExtractor, conv_init
from w2v2_jax.models.first_layer import folded_group_norm, patches_of, summed_group_norm, taps_gelu
from w2v2_jax.models.frames import frame_counts, frame_mask
from w2v2_jax.models.layers import LayerNorm, gelu, scale_gradient
from w2v2_jax.models.strided_conv import phased_conv, strided_conv, strided_matmul, viewed_matmul


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def weighted_sum(out):
    """A scalar whose gradient reaches every output differently."""
    return (out * random(*out.shape, seed=9)).sum()


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(250_000, 781), (320_000, 999), (16_000, 49), (400, 1), (399, 0), (719, 1), (720, 2), (0, 0)],
)
def test_frame_counts_are_those_of_the_released_models(samples, frames):
    assert frame_counts(samples, CONV_LAYERS) == frames
    assert frame_counts(jnp.array([samples]), CONV_LAYERS)[0] == frames
    assert frame_counts(np.array([samples]), CONV_LAYERS)[0] == frames


def test_frame_counts_of_an_int_are_an_int():
    assert isinstance(frame_counts(16_000, CONV_LAYERS), int)


def test_a_frame_mask_is_true_on_the_first_count_frames():
    np.testing.assert_array_equal(
        frame_mask(jnp.array([0, 2, 3]), 3),
        [[False, False, False], [True, True, False], [True, True, True]],
    )


def viewed(x, kernel, stride):
    frames = (x.shape[1] - kernel.shape[0]) // stride + 1
    longer = jnp.pad(x, ((0, 0), (0, 5), (0, 0)), constant_values=7.0)  # which no frame reaches
    return viewed_matmul(longer, kernel, stride, frames)


@pytest.mark.parametrize("formulation", [strided_matmul, phased_conv, viewed])
@pytest.mark.parametrize(("width", "stride"), [(3, 2), (2, 2), (10, 5), (5, 2), (8, 3), (2, 3)])
def test_formulations_of_a_strided_convolution_agree_with_their_gradients(
    width, stride, formulation
):
    x, kernel = random(2, 37, 4), random(width, 4, 6, seed=1)

    def both(convolve):
        value = lambda x, kernel: weighted_sum(convolve(x, kernel, stride))  # noqa: E731
        return jax.jit(lambda x, k: (convolve(x, k, stride), jax.grad(value, (0, 1))(x, k)))

    with jax.default_matmul_precision("highest"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
            both(formulation)(x, kernel), both(strided_conv)(x, kernel),
        )  # fmt: skip


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_rows_in_pieces_as_on_tpu_give_the_same_latents_and_gradients(norm, tiny, monkeypatch):
    layers = ((8, 10, 5), (8, 3, 2), (8, 2, 2))
    config = dataclasses.replace(
        tiny, conv_layers=layers, extractor_norm=norm, conv_bias=norm == "layer"
    )
    network, x = FeatureExtractor(config), random(3, 1403)
    counts = jnp.array([1403, 1100, 707])
    params = partition.unbox(jax.jit(network.init)(jax.random.key(0), x, counts))

    def found():
        def value(params):
            out = network.apply(params, x, counts)
            return weighted_sum(out), out

        return jax.jit(jax.grad(value, has_aux=True))(params)

    expected = found()
    monkeypatch.setattr(feature_extractor, "platform", lambda: "tpu")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found(), expected
    )


@pytest.mark.parametrize(("width", "stride"), [(10, 5), (3, 2)])
def test_patches_are_the_windows_of_the_waveform(width, stride):
    x = np.arange(2 * 41, dtype=np.float32).reshape(2, 41)
    frames = (41 - width) // stride + 1
    expected = np.stack([x[:, t * stride : t * stride + width] for t in range(frames)], axis=1)
    np.testing.assert_array_equal(patches_of(jnp.asarray(x), width, stride, frames), expected)


def plain_group_norm(patches, kernel, scale, bias, real):
    """Convolve, then normalise each channel of each row over its real frames."""
    out = jnp.einsum("btk,ko->bto", patches, kernel, precision="highest")
    weight = real[..., None].astype(jnp.float32)
    count = weight.sum(1, keepdims=True)
    mean = (out * weight).sum(1, keepdims=True) / count
    variance = (jnp.square(out - mean) * weight).sum(1, keepdims=True) / count
    return (out - mean) / jnp.sqrt(variance + 1e-5) * scale[None, None] + bias[None, None]


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_the_folded_group_norm_is_convolution_then_group_norm_with_its_gradients(offset):
    patches = random(3, 40, 10) + offset
    real = frame_mask(jnp.array([40, 25, 1]), 40)
    arguments = patches, random(10, 6, seed=1), 1 + random(6, seed=2), random(6, seed=3)
    folded = functools.partial(folded_group_norm, real=real, dtype=jnp.float32)
    plain = functools.partial(plain_group_norm, real=real)

    def both(norm):
        value = lambda *a: weighted_sum(jnp.where(real[..., None], norm(*a), 0))  # noqa: E731
        return jax.jit(lambda *a: (norm(*a), jax.grad(value, (0, 1, 2, 3))(*a)))

    got, expected = both(folded)(*arguments), both(plain)(*arguments)
    np.testing.assert_allclose(got[0][:2], expected[0][:2], rtol=1e-4, atol=1e-4)
    for a, b in zip(got[1][1:], expected[1][1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got[1][0][:2], expected[1][0][:2], rtol=1e-3, atol=1e-4)


def test_the_summed_first_layer_is_gelu_of_the_folded_one_with_its_gradients(monkeypatch):
    patches, real = random(3, 40, 10), frame_mask(jnp.array([40, 25, 1]), 40)
    arguments = patches, random(10, 6, seed=1), 1 + random(6, seed=2), random(6, seed=3)
    options = dict(real=real, dtype=jnp.float32)

    def both(layer):
        value = lambda *a: weighted_sum(layer(*a))  # noqa: E731
        return jax.jit(lambda *a: (layer(*a), jax.grad(value, (0, 1, 2, 3))(*a)))(*arguments)

    expected = both(lambda *a: gelu(folded_group_norm(*a, **options)))
    monkeypatch.setattr(first_layer, "platform", lambda: "gpu")
    got = both(lambda *a: summed_group_norm(*a, **options, rows=40))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), got, expected)
    longer = jax.jit(lambda *a: summed_group_norm(*a, **options, rows=43))(*arguments)
    np.testing.assert_array_equal(longer[:, 40:], jnp.zeros((3, 3, 6)))


def first_layers(monkeypatch, batch=8):
    """(arguments, function: whether in kernels -> value and gradients) of BASE's layer 0 in half
    precision, 150 frames and 2 more rows."""
    patches = random(batch, 150, 10).astype(jnp.bfloat16)
    arguments = random(batch, 10, 128, seed=1), random(128, seed=2)

    def run(kernels, place=lambda x: x):
        monkeypatch.setattr(first_layer, "has_matrix_units", lambda: kernels)
        value = lambda *a: weighted_sum(taps_gelu(place(patches), *a, 152).astype(jnp.float32))  # noqa: E731
        return jax.jit(lambda *a: (taps_gelu(place(patches), *a, 152), jax.grad(value, (0, 1))(*a)))

    return arguments, run


def test_the_kernels_of_the_first_layer_compute_the_sum_of_taps(monkeypatch):
    arguments, run = first_layers(monkeypatch)
    expected, got = run(False)(*arguments), run(True)(*arguments)
    out, (for_kernel, for_bias) = got
    np.testing.assert_array_equal(out[:, 150:], jnp.zeros((8, 2, 128)))
    np.testing.assert_allclose(out, expected[0], rtol=1e-2, atol=1e-2)  # half precision's rounding
    np.testing.assert_allclose(for_kernel, expected[1][0], rtol=1e-2, atol=0.2)
    np.testing.assert_allclose(for_bias, expected[1][1], rtol=1e-2, atol=0.2)


def test_the_kernels_of_the_first_layer_state_the_flops_of_their_products(monkeypatch):
    arguments, run = first_layers(monkeypatch)
    jaxpr = jax.make_jaxpr(run(True))(*arguments).jaxpr
    stated = [int(e.params["metadata"]["flops"]) for e in equations(jaxpr, "pallas_call")]
    product = 2 * 8 * 3 * 64 * 16 * 128  # rows, tiles of 64 frames, ten taps and one in columns
    assert sorted(set(stated)) == [product, 2 * product]


def test_the_normal_distribution_of_the_kernels_is_exact():
    x = jnp.linspace(-9, 9, 20001)
    cumulative, density = first_layer_gpu._normal(x)
    np.testing.assert_allclose(cumulative, jax.scipy.stats.norm.cdf(x), atol=2e-7)
    np.testing.assert_allclose(density, jax.scipy.stats.norm.pdf(x), rtol=2e-5, atol=1e-12)


def test_the_kernels_of_the_first_layer_lower_to_triton_for_a_gpu(monkeypatch):
    arguments, run = first_layers(monkeypatch)
    monkeypatch.setattr(first_layer_gpu, "platform", lambda: "gpu")
    traced = run(True).trace(*arguments)
    try:
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    except RuntimeError as error:  # later versions of JAX compile for the GPU that is there
        pytest.skip(str(error))
    assert text.count("@__gpu$xla.gpu.triton") == 2  # one forward, one backward


def test_on_a_mesh_every_device_computes_the_first_layer_of_its_rows(monkeypatch):
    arguments, run = first_layers(monkeypatch)
    expected = run(True)(*arguments)
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
    rows = partition.batch_sharding(mesh)
    with jax.set_mesh(mesh):
        traced = run(True, lambda x: jax.lax.with_sharding_constraint(x, rows)).trace(*arguments)
        got = traced.lower().compile()(*arguments)
    shapes = {e.invars[0].aval.shape[0] for e in equations(traced.jaxpr.jaxpr, "pallas_call")}
    assert shapes == {1}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=0.1), got, expected)


def extractor(config, **execution):
    network = FeatureExtractor(config, Execution(**execution))
    abstract = jax.eval_shape(
        network.init, jax.random.key(0), jnp.zeros((1, 200)), jnp.array([200])
    )
    shapes = partition.unbox(abstract)
    keys = iter(range(1000))
    params = jax.tree.map(lambda leaf: 0.3 * random(*leaf.shape, seed=next(keys)), shapes)
    return jax.jit(network.apply), params


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_latents_of_real_frames_do_not_depend_on_padding(tiny, norm):
    apply, params = extractor(dataclasses.replace(tiny, extractor_norm=norm, conv_bias=True))
    x = random(2, 1000)
    padded = x.at[1, 700:].set(0.0)
    together = apply(params, padded, jnp.array([1000, 700]))
    alone = apply(params, x[1:, :700], jnp.array([700]))
    frames = alone.shape[1]
    np.testing.assert_allclose(together[1, :frames], alone[0], rtol=1e-4, atol=1e-5)
    first = apply(params, x[:1], jnp.array([1000]))
    np.testing.assert_allclose(together[0], first[0], rtol=1e-4, atol=1e-5)


def test_without_masked_group_norm_padding_enters_the_statistics_as_in_the_released_code(tiny):
    apply, params = extractor(dataclasses.replace(tiny, masked_group_norm=False))
    x = random(1, 1000).at[0, 700:].set(0.0)
    short, full = apply(params, x, jnp.array([700])), apply(params, x, jnp.array([1000]))
    np.testing.assert_array_equal(short, full)
    alone = apply(params, x[:, :700], jnp.array([700]))
    assert np.abs(short[:, : alone.shape[1]] - alone).max() > 0.01


def test_the_group_norm_cancels_the_waveforms_offset_and_scale(tiny):
    apply, params = extractor(tiny)
    x, counts = random(1, 1000), jnp.array([1000])
    np.testing.assert_allclose(
        apply(params, 50 * x + 3, counts), apply(params, x, counts), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize(
    ("norm", "normalised"),
    [("group", ["conv_0"]), ("layer", ["conv_0", "conv_1", "conv_2"])],
)
def test_group_norm_follows_the_first_layer_and_layer_norm_every_layer(tiny, norm, normalised):
    _, params = extractor(dataclasses.replace(tiny, extractor_norm=norm))
    layers = params["params"]
    assert [name for name in layers if set(layers[name]) != {"kernel"}] == normalised


@pytest.mark.parametrize("formulation", ["matmul_per_stride", "one_matmul"])
def test_matmul_and_convolution_extractors_are_equal(tiny, formulation):
    x, counts = random(2, 1000), jnp.array([1000, 800])
    matmul, params = extractor(tiny, conv_formulation=formulation)
    conv, _ = extractor(tiny, conv_formulation="xla_conv")
    np.testing.assert_allclose(
        matmul(params, x, counts), conv(params, x, counts), rtol=1e-4, atol=1e-5
    )


def test_too_few_samples_for_one_frame_are_an_error(tiny):
    with pytest.raises(ValueError, match="too few for one frame"):
        jax.eval_shape(
            FeatureExtractor(tiny).init, jax.random.key(0), jnp.zeros((1, 20)), jnp.array([20])
        )


def test_convolutions_start_kaiming_normal():
    kernel = np.asarray(conv_init(jax.random.key(0), (3, 128, 256), jnp.float32))
    deviation = np.sqrt(2 / (3 * 128))
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert abs(kernel.mean()) < 0.02 * deviation
    assert np.abs(kernel).max() > 3.5 * deviation  # not truncated


# The shared primitives ---------------------------------------------------------------------------


def test_gelu_is_exact_and_so_is_its_gradient():
    x = jnp.linspace(-6, 6, 4001)
    exact = lambda x: jax.nn.gelu(x, approximate=False)  # noqa: E731
    np.testing.assert_allclose(gelu(x), exact(x), rtol=1e-5, atol=1e-6)
    slope, expected = (jax.vmap(jax.grad(f))(x) for f in (gelu, exact))
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)


def test_gelu_keeps_its_inputs_dtype():
    x = jnp.ones(3, jnp.bfloat16)
    assert gelu(x).dtype == jnp.bfloat16
    assert jax.grad(lambda x: gelu(x).sum())(x).dtype == jnp.bfloat16


def test_layer_norm_has_epsilon_1e_5():
    x = jnp.array([[1e-3, -1e-3]])  # variance 1e-6: the epsilon decides
    params = {"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}
    np.testing.assert_allclose(LayerNorm().apply(params, x), x / np.sqrt(1e-6 + 1e-5), rtol=1e-5)


def test_layer_norm_computes_in_float32_under_bfloat16():
    x = (1000 + random(1, 64)).astype(jnp.bfloat16)
    params = {"params": {"scale": jnp.ones(64), "bias": jnp.zeros(64)}}
    low = LayerNorm("bfloat16").apply(params, x)
    assert low.dtype == jnp.bfloat16
    exact = LayerNorm().apply(params, x.astype(jnp.float32))
    np.testing.assert_array_equal(low, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize("scale", [0.0, 0.03, 0.1, 1.0])
def test_scale_gradient_is_the_identity_forward_and_scales_the_gradient(scale):
    for dtype in (jnp.float32, jnp.bfloat16):
        x = random(50).astype(dtype)
        np.testing.assert_array_equal(scale_gradient(x, scale), x)
    x = random(50)
    gradient = jax.grad(lambda x: jnp.square(scale_gradient(x, scale)).sum())(x)
    np.testing.assert_allclose(gradient, scale * 2 * x, rtol=1e-5)


def test_on_a_cpu_the_forward_pass_keeps_no_slope_of_gelu(monkeypatch):
    x, kernels = jnp.ones((512, 256)), [jnp.ones((256, 256))] * 6

    def temporaries():
        def network(x, kernels):
            for kernel in kernels:
                x = gelu(x @ kernel)
            return x.sum()

        lowered = jax.jit(jax.grad(network)).lower(x, kernels)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    after = temporaries()
    monkeypatch.setattr(layers, "when_needed", lambda saved, gradient: (saved, gradient))
    assert temporaries() > after + 3 * x.nbytes
