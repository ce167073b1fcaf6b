"""Rates of layers by number, though they are stacked in one array, and rates that fall by layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax import partition, trees
from w2v2_jax.errors import InputError
from w2v2_jax.models import row_random
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import (
    AdamState,
    adam,
    constant,
    rate_table,
    trainable,
    unmatched,
    with_frozen,
)
from w2v2_jax.train_step import init_state, summed_gradients, train_step

LAYERS = "encoder/transformer/layers/"
LOWER = (("layers[0:2]/", 0.0), ("feature_extractor|position", 0.0))


def size(tree) -> int:
    """Bytes of the arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def stacks(number=4):
    """A network's tree with stacks of `number` layers, each filled with its layer's number + 1."""
    numbers = np.arange(1, number + 1, dtype=np.float32)
    layers = {"kernel": np.tile(numbers[:, None, None], (1, 2, 3)), "bias": numbers[:, None]}
    ones = np.ones(3, np.float32)
    return {
        "encoder": {"transformer": {"layers": layers, "norm": {"scale": ones}}, "mask": ones},
        "head": {"kernel": ones},
    }


def change(pairs, *, updates=1, **settings):
    """path -> what updates of gradients of 1 add to each parameter; of a stack, each layer."""
    params = stacks()
    tx = adam(constant(peak=0.1), weight_decay=0.0, rate_by_path=pairs, num_layers=4, **settings)
    table = rate_table(pairs, 4)
    learning, state = trainable(params, table), tx.init(params)
    for _ in range(updates):
        gradients = trainable(jax.tree.map(jnp.ones_like, params), table)
        steps, state = tx.update(gradients, state, learning)
        learning = jax.tree.map(jnp.add, learning, steps)
    after = trees.flatten(with_frozen(learning, params, table))
    moved = {name: after[name] - x for name, x in trees.flatten(params).items()}
    assert all(np.ptp(x.reshape(len(x), -1), axis=1).max() == 0 for x in moved.values())
    return {name: x.reshape(len(x), -1)[:, 0] for name, x in moved.items()}


def test_a_pattern_that_matches_no_parameter_is_told_with_the_names_nearest_to_it():
    (line,) = unmatched([("transformers/", 0.0), ("^head|lm_head", 0.0)], stacks())
    assert "optimizer.rate_by_path: 'transformers/' matches no parameter" in line
    assert line.endswith("near it are encoder/transformer")
    (line,) = unmatched([("quantizer", 0.05)], stacks())
    assert line.endswith("parameters begin with encoder, head")
    assert unmatched([*LOWER[:1], ("layers[-1]/kernel$|adapter", 1.0), ("", 0.1)], stacks()) == []
    assert len(unmatched([("layers[0]/kernle", 0.0)], stacks())) == 1


@pytest.mark.parametrize(
    ("pattern", "layers"),
    [
        ("layers[0:2]/", [0, 1]),
        ("layers[2]", [2]),
        ("layers[-1]/kernel$", [3]),
        ("layers[-4]", [0]),
        ("layers[-2:]", [2, 3]),
        ("layers[:1]", [0]),
        ("^encoder/transformer/layers[1:3]/", [1, 2]),
    ],
)
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_pattern_names_layers_by_number_and_the_others_are_as_they_were(pattern, layers, value):
    plain = change(())[LAYERS + "kernel"]
    moved = change(((pattern, value),), updates=1)
    expected = np.where(np.isin(np.arange(4), layers), value * plain, plain)
    np.testing.assert_allclose(moved[LAYERS + "kernel"], expected, rtol=1e-5)
    other = plain if "kernel" in pattern else expected
    np.testing.assert_allclose(moved[LAYERS + "bias"], other, rtol=1e-5)
    np.testing.assert_allclose(moved["head/kernel"], plain[0], rtol=1e-5)


def test_the_first_match_wins_for_each_layer_by_itself():
    plain = change(())[LAYERS + "bias"][0]
    moved = change((("layers[1:3]", 0.5), ("layers[2:]", 0.0), ("layers", 2.0)))
    np.testing.assert_allclose(moved[LAYERS + "bias"] / plain, [2, 0.5, 0.5, 0], rtol=1e-5)


def test_moments_are_two_times_the_bytes_of_the_layers_that_learn():
    tx = adam(constant(peak=0.1), rate_by_path=(("layers[1:3]", 0.0),), num_layers=4)
    params = stacks()
    state = next(x for x in tx.init(params) if isinstance(x, AdamState))
    whole = params["encoder"]["transformer"]["layers"]
    assert size((state.first, state.second)) == 2 * (size(params) - size(whole) // 2)
    boxed = jax.eval_shape(lambda: trainable(params, rate_table((("layers[3]", 0.0),), 4)))
    assert boxed["encoder"]["transformer"]["layers"]["kernel"].shape == (3, 2, 3)


def test_what_is_taken_out_of_a_stack_goes_back_between_the_layers_that_stayed():
    params, table = stacks(), rate_table((("layers[1]", 0.0), ("layers[3]", 0.0)), 4)
    learning = jax.tree.map(lambda x: x + 10, trainable(params, table))
    whole = with_frozen(learning, params, table)
    assert whole["encoder"]["transformer"]["layers"]["bias"].ravel().tolist() == [11, 2, 13, 4]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layers[4]", "none of the network's 4 layers, 0 to 3"),
        ("layers[2:5]", "none of the network's 4 layers"),
        ("layers[-5]", "none of the network's 4 layers"),
        ("layers[2:2]", "none of the network's 4 layers"),
        ("layers[0-2]/", r"write layers by number once, as layers\[3\] or layers\[0:6\]"),
        ("layers[0,2]/", r"write layers by number as layers\[3\] or layers\[0:6\]"),
        ("layers[0]/|layers[2]/", "write layers by number once"),
        ("layers[::2]/", r"write layers by number as layers\[3\] or layers\[0:6\]"),
        ("head(", r"'head\(' is no regular expression: missing \), unterminated subpattern"),
        ("layers[0:2]/(attention", r"'layers\[0:2\]/\(attention' is no regular expression"),
    ],
)
def test_layers_that_are_not_there_are_refused(pattern, message):
    with pytest.raises(InputError, match=message):
        rate_table(((pattern, 0.0),), 4)


def test_a_slice_that_would_be_no_set_of_characters_is_taken():
    assert rate_table((("layers[2:-1]/", 0.0),), 4)[0].layers == (2,)


def test_a_set_of_characters_after_layers_is_still_a_regex():
    assert rate_table((("layers[/]kernel", 0.0),), 4) == (("layers[/]kernel", 0.0),)


@pytest.mark.parametrize(("order", "norm"), [("post", 0.5**5), ("pre", 1.0)])
def test_layer_decay_halves_the_rate_of_each_layer_below(order, norm):
    plain = change(())
    moved = change((("layers[1]", 0.0),), layer_decay=0.5, norm_order=order)
    shares = {name: moved[name] / plain[name] for name in plain}
    np.testing.assert_allclose(shares[LAYERS + "bias"], [0.5**4, 0, 0.25, 0.5], rtol=1e-5)
    np.testing.assert_allclose(shares["encoder/mask"], 0.5**5, rtol=1e-5)
    np.testing.assert_allclose(shares["encoder/transformer/norm/scale"], norm, rtol=1e-5)
    np.testing.assert_allclose(shares["head/kernel"], 1.0, rtol=1e-5)
    whole = change((), layer_decay=0.5, norm_order=order)[LAYERS + "bias"]
    np.testing.assert_allclose(
        whole / plain[LAYERS + "bias"], [0.5**4, 0.5**3, 0.25, 0.5], rtol=1e-5
    )
    with pytest.raises(InputError, match=r"layer_decay=1\.5 must be above 0 and at most 1"):
        adam(constant(peak=0.1), layer_decay=1.5)


@pytest.fixture(scope="module")
def objective(quiet):
    return CTC(dataclasses.replace(quiet, num_layers=3), num_classes=5)


def test_frozen_layers_have_no_gradient_and_their_moments_shard(
    objective, random_params, make_batch
):
    table = rate_table(LOWER, 3)
    keys = row_random.row_keys(jax.random.key(0), jnp.arange(8))
    gradients, _ = jax.eval_shape(
        lambda params: summed_gradients(
            params, make_batch(), keys, 0, objective=objective, accumulate=2, shards=1, table=table
        ),
        random_params(objective),
    )
    flat = trees.flatten(gradients)
    stacked = {x.shape[0] for name, x in flat.items() if name.startswith(LAYERS)}
    assert stacked == {1} and not any("feature_extractor" in name for name in flat)
    tx = adam(constant(peak=0.1), rate_by_path=LOWER, num_layers=3)
    state = jax.eval_shape(lambda: init_state(objective, tx, 0))
    placed = partition.shardings(state, partition.make_mesh(devices=jax.devices()[:1]))
    assert jax.tree.structure(placed) == jax.tree.structure(partition.unbox(state))


@pytest.mark.slow
def test_an_update_moves_the_upper_layer_as_without_frozen_ones_and_no_lower(
    objective, random_params, make_batch
):
    params, batch = random_params(objective), make_batch()

    def after(pairs):
        tx = adam(constant(peak=0.1), rate_by_path=pairs, num_layers=3)
        table = rate_table(pairs, 3)
        state = init_state(objective, tx, 0)._replace(params=params, opt_state=tx.init(params))
        run = jax.jit(lambda state, batch: train_step(
            state, batch, np.uint32(0), objective=objective, tx=tx, accumulate=1, table=table
        ))  # fmt: skip
        return trees.flatten(run(state, batch)[0].params)

    frozen, slow = after(LOWER), after(tuple((pattern, 1e-30) for pattern, _ in LOWER))
    for name, x in trees.flatten(params).items():
        if name.startswith(LAYERS):
            np.testing.assert_array_equal(frozen[name][:2], x[:2], err_msg=name)
            assert np.abs(frozen[name][2] - x[2]).max() > 0, name
        one, other = frozen[name], slow[name]
        if name == LAYERS + "attention/qkv_bias":
            # Softmax takes no notice of the keys' bias: its gradient is rounding, which Adam
            # scales up.
            one, other = one[:, ::2], other[:, ::2]
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=name)
