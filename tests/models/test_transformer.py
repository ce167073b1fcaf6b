"""The context network and the encoder against an independent numpy version and invariances."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax import partition
from w2v2_jax.models import row_random
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.frames import frame_mask
from w2v2_jax.models.transformer import Transformer
from w2v2_jax.models.wav2vec2 import Encoder, Wav2Vec2ForCTC
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC

B, T = 3, 13


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def filled(init, *arguments, **options):
    """Random parameters of an initialiser's shapes, scales around 1, without running it."""
    shapes = partition.unbox(jax.eval_shape(init, jax.random.key(0), *arguments, **options))
    leaves, tree = jax.tree.flatten(shapes)
    rng = np.random.default_rng(0)
    ones = [str(path[-1].key) in ("scale", "norm_scale", "magnitude")
            for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]  # fmt: skip
    values = [
        one + 0.3 * rng.normal(size=leaf.shape) for one, leaf in zip(ones, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, [value.astype(np.float32) for value in values])


REAL = frame_mask(jnp.array([13, 9, 1]), T)


@pytest.fixture(scope="module")
def x():
    return random(B, T, 16)


@pytest.fixture(scope="module")
def params(quiet, x):
    return filled(Transformer(quiet).init, x, REAL, None)


@pytest.fixture(scope="module")
def keys():
    return row_random.row_keys(jax.random.key(2), jnp.arange(B))


# An independent forward pass in float64 ----------------------------------------------------------


def np_norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def np_gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def np_position(x, p, groups):
    direction = p["direction"]
    kernel = direction / np.sqrt((direction**2).sum((1, 2), keepdims=True))
    kernel = kernel * p["magnitude"][:, None, None]
    width, inputs, outputs = kernel.shape
    out = np.zeros(x.shape)
    for t in range(len(x)):
        for k in range(width):
            source = t + k - width // 2
            if 0 <= source < len(x):
                for g in range(groups):
                    o = slice(g * outputs // groups, (g + 1) * outputs // groups)
                    out[t, o] += x[source, g * inputs : (g + 1) * inputs] @ kernel[k, :, o]
    return np_gelu(out + p["bias"])


def np_attention(x, p):
    heads, size = p["qkv_bias"].shape[1:]
    out = np.zeros(x.shape)
    for h in range(heads):
        q, k, v = (x @ p["qkv_kernel"][:, i, h] + p["qkv_bias"][i, h] for i in range(3))
        scores = q @ k.T / math.sqrt(size)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        out += weights @ v @ p["out_kernel"][h]
    return out + p["out_bias"]


def np_feed_forward(x, p):
    inner = np_gelu(x @ p["feed_forward_in"]["kernel"] + p["feed_forward_in"]["bias"])
    return inner @ p["feed_forward_out"]["kernel"] + p["feed_forward_out"]["bias"]


def np_transformer(x, p, config):
    """One row without padding [T, D]."""
    x = x + np_position(x, p["position"], config.position_groups)
    pre = config.norm_order == "pre"
    x = x if pre else np_norm(x, p["norm"])
    for layer in range(config.num_layers):
        q = jax.tree.map(lambda leaf, i=layer: leaf[i], p["layers"])
        if pre:
            x = x + np_attention(np_norm(x, q["attention_norm"]), q["attention"])
            x = x + np_feed_forward(np_norm(x, q["feed_forward_norm"]), q)
        else:
            x = np_norm(x + np_attention(x, q["attention"]), q["attention_norm"])
            x = np_norm(x + np_feed_forward(x, q), q["feed_forward_norm"])
    return np_norm(x, p["norm"]) if pre else x


@pytest.mark.parametrize("order", ["post", "pre"])
def test_the_transformer_is_an_independent_numpy_version_on_each_rows_real_frames(
    order, quiet, params, x
):
    config = dataclasses.replace(quiet, norm_order=order)
    context, _ = jax.jit(Transformer(config).apply)(params, x, REAL, None)
    double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    for row, count in enumerate((13, 9, 1)):
        expected = np_transformer(np.asarray(x[row, :count], np.float64), double, config)
        np.testing.assert_allclose(context[row, :count], expected, rtol=2e-4, atol=2e-5)


# Formulations that must not matter ---------------------------------------------------------------


def value_and_gradients(config, execution, params, x, keys):
    def value(params, x):
        context, _ = Transformer(config, execution).apply(params, x, REAL, keys)
        return jnp.where(REAL[..., None], context * random(B, T, 16, seed=3), 0).sum(), context

    (_, context), gradients = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))(params, x)
    return context, gradients


@pytest.fixture(scope="module")
def unrolled(noisy, params, x, keys):
    return value_and_gradients(noisy, Execution(), params, x, keys)


@pytest.mark.parametrize(
    "changes",
    [
        dict(remat="full", scan_layers=True),
        pytest.param(dict(scan_layers=True), marks=pytest.mark.slow),
        pytest.param(dict(remat="dots"), marks=pytest.mark.slow),
        pytest.param(dict(remat="full"), marks=pytest.mark.slow),
    ],
)
def test_scan_and_rematerialisation_change_no_value_and_no_gradient(
    changes, unrolled, noisy, params, x, keys
):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5),
        value_and_gradients(noisy, Execution(**changes), params, x, keys), unrolled,
    )  # fmt: skip


@pytest.mark.parametrize(("remat", "recomputes"), [("none", False), ("full", True)])
def test_full_rematerialisation_is_in_the_compiled_gradient(remat, recomputes, quiet, params, x):
    network = Transformer(quiet, Execution(remat=remat))
    value = lambda p: network.apply(p, x, REAL, None)[0].sum()  # noqa: E731
    assert ("remat" in str(jax.make_jaxpr(jax.grad(value))(params))) == recomputes


def test_parameters_are_stacked_whether_scanned_or_not(quiet, x):
    trees = []
    for scan in (True, False):
        network = Transformer(quiet, Execution(scan_layers=scan))
        trees.append(jax.eval_shape(network.init, jax.random.key(0), x, REAL, None))
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    assert jax.tree.leaves(trees[0]) == jax.tree.leaves(trees[1])


def test_what_padded_frames_hold_is_not_seen_by_real_frames(quiet, params, x):
    apply = jax.jit(Transformer(quiet).apply)
    garbage = jnp.where(REAL[..., None], x, 1e3 * random(B, T, 16, seed=5))
    first, second = apply(params, x, REAL, None)[0], apply(params, garbage, REAL, None)[0]
    np.testing.assert_array_equal(np.asarray(first)[REAL], np.asarray(second)[REAL])


# LayerDrop and dropout ---------------------------------------------------------------------------


def test_layer_drop_skips_whole_layers_of_single_rows_at_its_rate(quiet):
    rows, rate = 400, 0.3
    config = dataclasses.replace(quiet, num_layers=4, layer_drop=rate)
    network, x = Transformer(config), random(rows, 2, 16)
    real = jnp.ones((rows, 2), bool)
    params = filled(network.init, x, real, None)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(rows))
    apply = jax.jit(lambda keys: network.apply(params, x, real, keys, hidden_states=True)[1])
    states = np.asarray(jnp.stack(apply(keys)))  # [5, rows, 2, D]
    skipped = (states[1:] == states[:-1]).all((2, 3))  # [4, rows]
    error = np.sqrt(rate * (1 - rate) / rows)
    assert np.abs(skipped.mean(1) - rate).max() < 4 * error
    both = (skipped[0] & skipped[1]).mean()
    assert both == pytest.approx(rate**2, abs=0.08)  # layers draw for themselves
    silent = np.asarray(jnp.stack(apply(None)))
    assert not (silent[1:] == silent[:-1]).all((2, 3)).any()  # no effect without keys


def test_evaluation_knows_no_dropout(noisy, quiet, params, x):
    loud, still = (jax.jit(Transformer(c).apply)(params, x, REAL, None)[0] for c in (noisy, quiet))
    np.testing.assert_array_equal(loud, still)


# Intermediate states -----------------------------------------------------------------------------


def test_states_are_every_layers_input_and_the_last_output(quiet, params, x):
    context, states = jax.jit(
        lambda p: Transformer(quiet).apply(p, x, REAL, None, hidden_states=True)
    )(params)
    assert len(states) == 3
    np.testing.assert_array_equal(states[-1], context)
    np.testing.assert_allclose(
        context, jax.jit(Transformer(quiet).apply)(params, x, REAL, None)[0], rtol=1e-4, atol=1e-5
    )


def test_pre_norm_states_are_not_normalised_and_the_context_is(quiet, params, x):
    network = Transformer(dataclasses.replace(quiet, norm_order="pre"))
    context, states = jax.jit(lambda p: network.apply(p, x, REAL, None, hidden_states=True))(params)
    norm = jax.tree.map(np.asarray, params["params"]["norm"])
    np.testing.assert_allclose(context, np_norm(np.asarray(states[-1]), norm), rtol=1e-3, atol=1e-4)


# The encoder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_features_and_context_of_an_utterance_do_not_depend_on_its_batch(norm, order, quiet):
    config = dataclasses.replace(quiet, extractor_norm=norm, norm_order=order)
    waveforms = random(2, 1000).at[1, 700:].set(0.0)
    counts = jnp.array([1000, 700])
    params = filled(Encoder(config).init, waveforms, counts)
    apply = jax.jit(Encoder(config).apply)
    together, alone = (
        apply(params, waveforms, counts), apply(params, waveforms[1:, :700], counts[1:])
    )  # fmt: skip
    frames = int(alone.counts[0])
    assert together.counts[1] == frames == alone.context.shape[1]
    for name in ("features", "context"):
        row = getattr(together, name)[1, :frames]
        np.testing.assert_allclose(row, getattr(alone, name)[0], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(together.penalty[1], alone.penalty[0], rtol=1e-4)


@pytest.fixture(scope="module")
def encoder(quiet):
    waveforms, counts = random(2, 1000), jnp.array([1000, 800])
    params = filled(Encoder(quiet).init, waveforms, counts)
    apply = lambda p, mask, channels: Encoder(quiet).apply(  # noqa: E731
        p, waveforms, counts, mask=mask, channel_mask=channels
    )
    return jax.jit(apply), params


def test_the_mask_changes_the_context_and_not_the_features_the_quantizer_sees(encoder):
    apply, params = encoder
    none, mask = jnp.zeros((2, 49), bool), jnp.zeros((2, 49), bool).at[0, 10:20].set(True)
    channels = jnp.zeros((2, 16), bool)
    masked, plain = apply(params, mask, channels), apply(params, none, channels)
    np.testing.assert_array_equal(masked.features, plain.features)
    assert np.abs(masked.context[0] - plain.context[0]).max() > 0.01
    np.testing.assert_array_equal(masked.context[1], plain.context[1])


def test_masked_frames_say_nothing_of_their_own_but_the_mask_embedding(encoder):
    apply, params = encoder
    everything, channels = jnp.ones((2, 49), bool), jnp.zeros((2, 16), bool)
    projection = params["params"]["feature_projection"]
    changed = jax.tree.map(lambda leaf: 2 * leaf, projection)
    other = {"params": {**params["params"], "feature_projection": changed}}
    first, second = apply(params, everything, channels), apply(other, everything, channels)
    np.testing.assert_array_equal(first.context, second.context)


def test_masked_channels_are_zero_even_in_masked_frames(encoder):
    apply, params = encoder
    everything, channels = jnp.ones((2, 49), bool), jnp.zeros((2, 16), bool).at[:, :8].set(True)
    embedding = params["params"]["mask_embedding"]
    zeroed = {"params": {**params["params"], "mask_embedding": embedding * (np.arange(16) >= 8)}}
    np.testing.assert_array_equal(
        apply(params, everything, channels).context,
        apply(zeroed, everything, jnp.zeros((2, 16), bool)).context,
    )


def test_there_is_no_projection_where_the_extractor_has_the_models_width(quiet):
    config = dataclasses.replace(quiet, conv_layers=((16, 10, 5), (16, 3, 2)))
    shapes = jax.eval_shape(
        Encoder(config).init, jax.random.key(0), jnp.zeros((1, 200)), jnp.array([200])
    )
    assert "feature_projection" not in shapes["params"]
    config = dataclasses.replace(config, always_project_features=True)
    shapes = jax.eval_shape(
        Encoder(config).init, jax.random.key(0), jnp.zeros((1, 200)), jnp.array([200])
    )
    assert "feature_projection" in shapes["params"]


def test_bfloat16_computes_near_float32_and_keeps_the_ctc_logits_float32(quiet):
    waveforms, counts = random(2, 1000), jnp.array([1000, 800])
    low = Wav2Vec2ForCTC(quiet, 5, Execution(dtype="bfloat16"))
    full = Wav2Vec2ForCTC(quiet, 5)
    params = filled(full.init, waveforms, counts)
    got, expected = (jax.jit(n.apply)(params, waveforms, counts)[0] for n in (low, full))
    assert got.dtype == jnp.float32
    assert np.abs(got - expected)[:, :39].max() < 0.05 * np.abs(expected).max()


# Initialisation ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(quiet):
    """Both objectives' fresh parameters at a width where statistics can be seen."""
    config = dataclasses.replace(
        quiet, conv_layers=((64, 10, 5), (64, 3, 2)), d_model=96, ffn_dim=256, num_layers=1,
        code_dim=64, final_dim=64,
    )  # fmt: skip
    initialise = lambda o: partition.unbox(jax.jit(o.init)(jax.random.key(0)))  # noqa: E731
    pretraining = initialise(Contrastive(config, diversity_group_seconds=0.1))
    return jax.device_get((pretraining, initialise(CTC(config, num_classes=32))))


def test_transformer_matrices_start_normal_with_deviation_0_02_and_no_bias(fresh):
    layers = fresh[0]["encoder"]["transformer"]["layers"]
    attention = layers["attention"]
    inner, outer = layers["feed_forward_in"], layers["feed_forward_out"]
    for kernel in (
        attention["qkv_kernel"],
        attention["out_kernel"],
        inner["kernel"],
        outer["kernel"],
    ):
        assert kernel.std() == pytest.approx(0.02, rel=0.03)
        assert np.abs(kernel).max() > 3.2 * 0.02
    for bias in attention["qkv_bias"], attention["out_bias"], inner["bias"], outer["bias"]:
        assert not bias.any()


def test_projections_start_uniform_within_one_over_root_fan_in(fresh):
    for layer, fan_in in (
        (fresh[0]["encoder"]["feature_projection"], 64), (fresh[0]["context_projection"], 96),
        (fresh[0]["target_projection"], 64),
    ):  # fmt: skip
        bound = fan_in**-0.5
        for leaf in (layer["kernel"], layer["bias"]):
            assert np.abs(leaf).max() <= bound
        assert layer["kernel"].std() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert layer["bias"].std() > 0


def test_the_mask_embedding_starts_uniform_in_0_1(fresh):
    embedding = fresh[0]["encoder"]["mask_embedding"]
    assert embedding.min() >= 0 and embedding.max() <= 1
    assert embedding.std() == pytest.approx(12**-0.5, rel=0.2)


def test_the_ctc_head_starts_xavier_uniform_without_bias(fresh):
    head = fresh[1]["head"]
    bound = np.sqrt(6 / (96 + 32))
    assert np.abs(head["kernel"]).max() <= bound
    assert head["kernel"].std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not head["bias"].any()


def test_norms_start_at_scale_1_and_bias_0(fresh):
    leaves = jax.tree_util.tree_leaves_with_path(fresh[0])
    scales = [leaf for path, leaf in leaves if path[-1].key in ("scale", "norm_scale")]
    assert len(scales) == 5 and all((leaf == 1).all() for leaf in scales)
