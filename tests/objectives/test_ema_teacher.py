"""The teacher's targets, loss and average against float64 NumPy, and what must change nothing."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.interop_cases import assert_same, random_checkpoint
from tests.helpers.invariances import assert_close, padded, reordered, with_fillers
from tests.helpers.step_runs import TX, run, with_untaken
from w2v2_jax import partition
from w2v2_jax.errors import InputError
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, native
from w2v2_jax.metrics import compute
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.families import model_config
from w2v2_jax.models.teacher import layer_targets, over_time
from w2v2_jax.models.transformer import Transformer
from w2v2_jax.models.wav2vec2 import Encoder
from w2v2_jax.objectives.ema_teacher import EMATeacher, deviation
from w2v2_jax.objectives.masked_frames import draw_mask
from w2v2_jax.train_step import init_state, with_teacher


@pytest.fixture(scope="module")
def objective(quiet):
    return EMATeacher(quiet, top_layers=2, decay=0.9, end_decay=0.99, anneal_updates=4)


@pytest.fixture(scope="module")
def weights(objective, params, random_params):
    """The parameters, and a teacher that is another network."""
    return with_teacher(params, objective.teacher(random_params(objective, seed=1)))


def normal(x, scale, bias):
    """Layer normalisation."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias


def attended(layer, x, pre):
    """Self-attention of a block with its residual, and its norm where that comes after: x [T, D]"""
    norm, heads = layer["attention_norm"], layer["attention"]
    inputs = normal(x, **norm) if pre else x
    qkv = np.einsum("td,dchk->cthk", inputs, heads["qkv_kernel"]) + heads["qkv_bias"][:, None]
    scores = np.einsum("thk,shk->hts", qkv[0], qkv[1]) / np.sqrt(qkv.shape[-1])
    share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = np.einsum("hts,shk->thk", share, qkv[2])
    y = x + np.einsum("thk,hkd->td", mixed, heads["out_kernel"]) + heads["out_bias"]
    return y if pre else normal(y, **norm)


def targets_of_a_row(params, states, top, pre):
    """Targets [T, D] of a row without padding from its blocks' inputs [T, D], of which each must
    be what comes out of the block before."""
    layers = jax.tree.map(lambda x: np.asarray(x, np.float64), params["layers"])
    gelu = np.vectorize(lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))))
    total = 0.0
    for index in range(len(states) - 1 - top, len(states) - 1):
        layer = jax.tree.map(lambda x, i=index: x[i], layers)
        y = attended(layer, np.asarray(states[index], np.float64), pre)
        norm = layer["feed_forward_norm"]
        x = normal(y, **norm) if pre else y
        x = gelu(x @ layer["feed_forward_in"]["kernel"] + layer["feed_forward_in"]["bias"])
        x = x @ layer["feed_forward_out"]["kernel"] + layer["feed_forward_out"]["bias"]
        out = y + x if pre else normal(y + x, **norm)
        np.testing.assert_allclose(out, states[index + 1], rtol=1e-4, atol=1e-4)
        total = total + (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    return total / top


@pytest.mark.parametrize(("order", "top", "depth"), [("post", 2, 1), ("post", 1, 2), ("pre", 2, 1)])
def test_targets_are_the_normalised_feed_forward_outputs_of_the_top_blocks(
    quiet, random_params, order, top, depth
):
    model = dataclasses.replace(quiet, norm_order=order, position_depth=depth)
    params = random_params(EMATeacher(model, top_layers=top))["encoder"]["transformer"]
    inputs = np.random.default_rng(3).normal(size=(2, 30, 16)).astype(np.float32)
    real = np.arange(30) < np.array([[30], [19]])

    @jax.jit
    def both(params):
        states = Transformer(model).apply(
            {"params": params}, inputs, real, None, hidden_states=True
        )
        return states[1], layer_targets(params, inputs, real, top=top, config=model)

    states, ours = both(params)
    for row, count in enumerate((30, 19)):
        row_states = [state[row, :count] for state in states]
        expected = targets_of_a_row(params, row_states, top, order == "pre")
        np.testing.assert_allclose(ours[row, :count], expected, rtol=1e-3, atol=1e-3)


def test_scanned_layers_give_the_same_targets(quiet, params):
    transformer = params["encoder"]["transformer"]
    inputs = np.random.default_rng(3).normal(size=(2, 30, 16)).astype(np.float32)
    real = np.arange(30) < np.array([[30], [19]])
    unrolled, scanned = (
        jax.jit(lambda p, e=execution: layer_targets(
            p, inputs, real, top=1, config=quiet, execution=e
        ))(transformer)
        for execution in (Execution(), Execution(scan_layers=True))
    )  # fmt: skip
    np.testing.assert_allclose(unrolled, scanned, rtol=1e-5, atol=1e-6)


def test_normalised_over_time_a_row_knows_its_real_frames_alone():
    x = np.random.default_rng(0).normal(2, 3, (2, 9, 4)).astype(np.float32)
    real = np.arange(9) < np.array([[9], [5]])
    ours = np.asarray(over_time(jnp.asarray(np.where(real[..., None], x, 1e6)), jnp.asarray(real)))
    for row, count in enumerate((9, 5)):
        part = x[row, :count].astype(np.float64)
        expected = (part - part.mean(0)) / np.sqrt(part.var(0) + 1e-5)
        np.testing.assert_allclose(ours[row, :count], expected, rtol=1e-4, atol=1e-5)
    assert (ours[1, 5:] == 0).all()
    assert np.isfinite(over_time(jnp.zeros((1, 4, 2)), jnp.zeros((1, 4), bool))).all()


def test_the_teacher_hears_the_network_s_own_input_without_mask_or_dropout(
    objective, weights, keys, make_batch
):
    batch = make_batch(labels=False)
    mask, slots = draw_mask(objective.model, keys, batch.num_samples, 1000)

    @jax.jit
    def both(weights):
        audio, encoder = (batch.waveforms, batch.num_samples), weights["encoder"]
        seen = objective.network.apply(
            {"params": {"encoder": encoder, "regression_head": weights["regression_head"]}},
            *audio, mask=mask, slots=slots, keys=keys,
        )  # fmt: skip
        # A network whose Transformer is the teacher's, but for the shared positions.
        swapped = {**encoder, "transformer": {**encoder["transformer"], **weights["teacher"]}}
        whole = Encoder(objective.model).apply({"params": swapped}, *audio)
        shared = swapped["transformer"]
        expected = layer_targets(shared, whole.inputs, seen.real, top=2, config=objective.model)
        return (
            seen.inputs,
            whole.inputs,
            objective.targets(weights, seen.inputs, seen.real),
            expected,
        )

    inputs, whole, ours, expected = both(weights)
    np.testing.assert_array_equal(inputs, whole)
    np.testing.assert_array_equal(ours, expected)


def test_the_loss_is_the_squared_error_of_masked_frames_over_the_root_of_the_width(
    objective, weights, keys, make_batch, terms
):
    batch = make_batch(labels=False)
    mask, slots = draw_mask(objective.model, keys, batch.num_samples, 1000)
    sums = terms(weights, batch, mask, slots, None)

    @jax.jit
    def context_and_targets(weights):
        audio = batch.waveforms, batch.num_samples
        encoded = Encoder(objective.model).apply({"params": weights["encoder"]}, *audio, mask=mask)
        real = jnp.arange(mask.shape[1])[None] < encoded.counts[:, None]
        return encoded.context, objective.targets(weights, encoded.inputs, real)

    context, targets = (np.asarray(x, np.float64) for x in context_and_targets(weights))
    head = weights["regression_head"]
    guesses = context @ np.asarray(head["kernel"], np.float64) + head["bias"]
    hidden = np.asarray(mask)
    errors = ((guesses - targets) ** 2).sum(-1)[hidden] / np.sqrt(16)
    np.testing.assert_allclose([sums.loss, sums.weight], [errors.sum(), hidden.sum()], rtol=1e-4)
    figures = compute(sums.metrics)
    for name, x in (("target_deviation", targets), ("prediction_deviation", guesses)):
        rows = [x[row, hidden[row]].std(0, ddof=1).mean() for row in range(8)]
        assert figures[name] == pytest.approx(np.mean(rows), rel=1e-3)


def test_a_deviation_is_of_rows_with_weight_and_two_slots():
    x = jnp.asarray([[[1.0], [3.0], [99.0]], [[5.0], [7.0], [9.0]], [[0.0], [50.0], [99.0]]])
    valid = jnp.asarray([[True, True, False], [True, False, False], [True, True, True]])
    mean = deviation(x, valid, jnp.asarray([1.0, 1.0, 0.0]))
    assert float(mean.weight) == 1 and float(mean.total) == pytest.approx(math.sqrt(2), rel=1e-5)


def test_the_average_s_decay_is_on_fairseq_s_line():
    objective = EMATeacher(model_config("base"))
    shares = {n: float(objective.new_share(jnp.int32(n))) for n in (0, 1, 15_000, 30_000, 400_000)}
    expected = {0: 1e-3, 1: 1 - (0.9999 - 0.0009 * (1 - 1 / 30_000)), 15_000: 5.5e-4}
    expected |= {30_000: 1e-4, 400_000: 1e-4}
    assert shares == pytest.approx(expected, rel=1e-5)


def averaged_by_numpy(objective, history, start):
    """The teacher after each state of a run, from the parameters of the states alone."""
    teacher, taken, averages = start, 0, []
    for state, metrics in history:
        if not metrics["skipped"].total:
            taken += 1
            decay = 0.9 + 0.09 * min(taken / 4, 1)  # of the fixture
            new = objective.teacher(state.params)
            teacher = jax.tree.map(lambda t, n, d=decay: d * t + (1 - d) * n, teacher, new)
        averages.append(teacher)
    return averages


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.fixture(scope="module")
def batches(make_batch):
    return with_untaken([make_batch(labels=False, seed=seed) for seed in range(6)])


@pytest.fixture(scope="module")
def history(objective, params, batches):
    return run(objective, params, batches)


def test_the_teacher_averages_the_parameters_after_updates_that_were_taken(
    objective, params, history
):
    assert [float(metrics["skipped"].total) for _, metrics in history] == [0, 1, 0, 1, 0, 0]
    start = wide(objective.teacher(params))
    for (state, _), expected in zip(
        history, averaged_by_numpy(objective, history, start), strict=True
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            state.teacher, expected,
        )  # fmt: skip
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), history[-1][0].teacher, start)
    assert min(jax.tree.leaves(moved)) > 0
    for before, after in ((0, 1), (2, 3)):  # what is not taken changes no bit
        jax.tree.map(
            np.testing.assert_array_equal, history[before][0].teacher, history[after][0].teacher
        )


@pytest.mark.slow
@pytest.mark.parametrize(("mesh", "accumulate"), [((1, 1, 1), 2), ((2, 1, 1), 2), ((2, 2, 2), 1)])
def test_microbatches_and_devices_move_the_teacher_as_one_does(
    objective, params, batches, history, mesh, accumulate
):
    batches = [batches[0], batches[4], batches[3]]
    plain = run(objective, params, batches)
    spread = run(objective, params, batches, mesh=mesh, accumulate=accumulate)
    for (a, ours), (b, theirs) in zip(plain, spread, strict=True):
        assert_close(a.teacher, b.teacher)
        assert_close(compute(ours), compute(theirs))


def test_the_teacher_is_sharded_as_the_parameters_are(objective):
    boxed = jax.eval_shape(lambda: init_state(objective, TX, 0))
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2, devices=jax.devices())
    state = partition.shardings(boxed, mesh)
    spec = lambda tree: jax.tree.map(lambda s: s.spec, tree)  # noqa: E731
    assert spec(state.teacher) == spec(objective.teacher(state.params))
    used = spec(state.teacher)["layers"]["feed_forward_in"]["kernel"]
    assert tuple(used) == (None, "fsdp", "tensor")


def test_a_fresh_teacher_is_the_network(objective):
    state = jax.jit(lambda seed: partition.unbox(init_state(objective, TX, seed)))(0)
    jax.tree.map(np.testing.assert_array_equal, state.teacher, objective.teacher(state.params))


def test_the_order_of_rows_changes_nothing(loss, weights, keys, make_batch):
    batch = make_batch(labels=False)
    moved, moved_keys = reordered(batch, keys)
    assert_close(loss(weights, batch, keys, 3), loss(weights, moved, moved_keys, 3))


def test_filler_rows_of_weight_0_change_nothing(loss, weights, keys, make_batch):
    one, other = with_fillers(make_batch(labels=False))
    assert_close(loss(weights, one, keys, 3), loss(weights, other, keys, 3))


def test_padding_rows_longer_changes_nothing(objective, weights, keys, make_batch, terms):
    batch = make_batch(labels=False)
    mask, slots = draw_mask(objective.model, keys, batch.num_samples, 1000)
    longer, longer_mask = padded(batch, mask, objective.model.conv_layers)
    found = terms(weights, longer, longer_mask, slots, None)
    assert_close(terms(weights, batch, mask, slots, None), found)


@pytest.fixture(scope="module")
def gradient(objective, keys, make_batch):
    """weights -> the gradient of the loss, as a function of a teacher too."""
    batch = make_batch(labels=False)
    return jax.jit(jax.grad(lambda weights: objective.loss(weights, batch, keys, 3).loss))


def test_the_teacher_has_no_gradient_and_everything_else_has_one(gradient, weights):
    largest = jax.tree.map(lambda x: float(jnp.abs(x).max()), gradient(weights))
    assert set(largest) == {"encoder", "regression_head", "teacher"}
    assert all(value == 0 for value in jax.tree.leaves(largest.pop("teacher")))
    assert all(0 < value < np.inf for value in jax.tree.leaves(largest))


def test_no_gradient_reaches_the_shared_parts_through_the_targets(gradient, weights):
    """A head of zeros cuts the predictions off: what is left would come by the targets."""
    head = jax.tree.map(jnp.zeros_like, weights["regression_head"])
    left = gradient({**weights, "regression_head": head})
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(left["encoder"]))
    assert np.any(left["regression_head"]["kernel"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(top_layers=3), "objective.top_layers=3 must be 1 to 2, the network's blocks"),
        (dict(top_layers=0), "objective.top_layers=0 must"),
        (dict(decay=0.9999, end_decay=0.999), "objective.decay=0.9999 and objective.end_decay=0.9"),
        (dict(end_decay=1.1), "must be in \\[0, 1\\]"),
        (dict(decay=1.0, end_decay=1.0), "decay=1: the teacher would never follow the network"),
        (dict(anneal_updates=0), "objective.anneal_updates=0 must be at least 1"),
    ],
)
def test_a_setting_out_of_range_is_named(quiet, change, message):
    with pytest.raises(InputError, match=message):
        EMATeacher(quiet, **{"top_layers": 2, **change})


def test_a_quantized_input_is_refused(quiet):
    model = dataclasses.replace(quiet, quantize_input=True, input_code_dim=8)
    with pytest.raises(InputError, match=r"has no noise for model\.quantize_input=True"):
        EMATeacher(model, top_layers=2)


@pytest.mark.parametrize(("depth", "kind"), [(1, "Wav2Vec2Model"), (2, "Data2VecAudioModel")])
def test_its_checkpoint_leaves_as_an_ordinary_encoder(tiny, tmp_path, capsys, depth, kind):
    layers = dict(extractor_norm="layer", position_kernel=19, position_depth=depth)
    model = dataclasses.replace(tiny, **(layers if depth > 1 else {}))
    loaded = random_checkpoint(model, parts=EMATeacher.parts, objective="ema_teacher")
    native.write_initial(tmp_path / "native", loaded)
    export.main([
        "--checkpoint", f"{tmp_path}/native", "--to", "hf", "--out", f"{tmp_path}/hf",
    ])  # fmt: skip
    assert "left over: regression_head/bias, regression_head/kernel" in capsys.readouterr().out
    there = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert there["architectures"] == [kind]
    assert_same(hugging_face.load(tmp_path / "hf").params, {"encoder": loaded.params["encoder"]})
