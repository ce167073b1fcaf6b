"""Schedules at their corners and fairseq's Adam against an independent numpy version."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.optimizer import SCHEDULES, adam, constant, polynomial, tri_stage, value_by_path

UPDATES = 20


def parameters():
    rng = np.random.default_rng(0)
    return {
        "encoder": {"norm": {"scale": rng.normal(size=4)}, "kernel": rng.normal(size=(3, 4))},
        "head": {"bias": rng.normal(size=5)},
    }


def gradients(step):
    rng = np.random.default_rng(100 + step)
    draw = lambda leaf: rng.normal(size=leaf.shape) * 10.0 ** rng.integers(-7, 1)  # noqa: E731
    return jax.tree.map(draw, parameters())


def run(tx, updates=UPDATES):
    """Parameters after every update."""
    single = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)  # noqa: E731
    params, history = single(parameters()), []
    state = tx.init(params)

    @jax.jit
    def step(params, state, grads):
        changes, state = tx.update(grads, state, params)
        return jax.tree.map(jnp.add, params, changes), state

    for n in range(updates):
        params, state = step(params, state, single(gradients(n)))
        history.append(params)
    return history


def fairseq_adam(rate, *, b1, b2, eps, weight_decay, updates=UPDATES):
    """float64; decay first, then the step with eps beside sqrt(v) before bias correction."""
    params = parameters()
    first = second = jax.tree.map(np.zeros_like, params)
    history = []
    for n in range(updates):
        lr, grads, t = rate(n), gradients(n), n + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, grads)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, second, grads)
        size = lr * np.sqrt(1 - b2**t) / (1 - b1**t)
        params = jax.tree.map(
            lambda p, m, v, lr=lr, size=size: (
                p - lr * weight_decay * p - size * m / (np.sqrt(v) + eps)
            ),
            params, first, second,
        )  # fmt: skip
        history.append(params)
    return history


@pytest.mark.parametrize(("eps", "weight_decay"), [(1e-6, 0.01), (1e-8, 0.0), (1e-3, 0.1)])
def test_twenty_updates_are_fairseqs_adam(eps, weight_decay):
    schedule = polynomial(peak=1e-2, warmup=5, total=30)
    tx = adam(schedule, b1=0.9, b2=0.98, eps=eps, weight_decay=weight_decay)
    rate = lambda n: 1e-2 * (n / 5 if n <= 5 else (30 - n) / 25)  # noqa: E731
    expected = fairseq_adam(rate, b1=0.9, b2=0.98, eps=eps, weight_decay=weight_decay)
    for ours, theirs in zip(run(tx), expected, strict=True):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), ours, theirs
        )


def test_the_first_update_of_a_polynomial_schedule_changes_nothing():
    after = run(adam(polynomial(peak=1.0, warmup=5, total=30)), updates=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after[0], parameters())
    jax.tree.map(lambda a, b: np.testing.assert_array_less(0, np.abs(a - b).max()), *after)


def test_weight_decay_shrinks_every_parameter_norms_and_biases_too():
    decayed = run(adam(constant(peak=0.1), weight_decay=0.5), updates=1)[0]
    plain = run(adam(constant(peak=0.1), weight_decay=0.0), updates=1)[0]
    jax.tree.map(
        lambda a, b, p: np.testing.assert_allclose(a - b, -0.05 * p, rtol=1e-4, atol=1e-6),
        decayed, plain, parameters(),
    )  # fmt: skip


def test_rate_by_path_multiplies_the_first_match_and_0_freezes():
    table = (("norm", 0.0), ("encoder/", 0.5), ("encoder/kernel", 7.0))
    params = parameters()
    scaled = run(adam(constant(peak=0.1), rate_by_path=table), updates=1)[0]
    plain = run(adam(constant(peak=0.1)), updates=1)[0]
    change = lambda tree, *path: np.asarray(pick(tree, path) - pick(params, path))  # noqa: E731
    assert np.abs(change(scaled, "encoder", "norm", "scale")).max() < 1e-6
    for path, factor in ((("encoder", "kernel"), 0.5), (("head", "bias"), 1.0)):
        expected = factor * change(plain, *path)
        np.testing.assert_allclose(change(scaled, *path), expected, rtol=1e-4, atol=1e-6)


def pick(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def test_value_by_path_searches_the_joined_path():
    values = value_by_path(parameters(), (("^head", 2.0), ("kernel$", 3.0)))
    assert values == {"encoder": {"norm": {"scale": 1.0}, "kernel": 3.0}, "head": {"bias": 2.0}}


def test_clipping_is_off_unless_asked_for_and_bounds_the_whole_gradient():
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradients(0))
    norm = np.sqrt(sum(np.square(g).sum() for g in jax.tree.leaves(grads)))

    def update(clip):  # without moments and with a huge eps: proportional to the gradient
        tx = adam(constant(peak=1.0), b1=0.0, b2=0.0, eps=1e9, weight_decay=0.0, clip_norm=clip)
        return jax.jit(lambda grads: tx.update(grads, tx.init(grads), grads)[0])(grads)

    jax.tree.map(
        lambda u, g: np.testing.assert_allclose(u, -1e-9 * g, rtol=1e-5), update(0.0), grads
    )
    jax.tree.map(
        lambda u, g: np.testing.assert_allclose(u, -1e-9 * g / (2 * norm), rtol=1e-4),
        update(0.5), grads,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.0), (1, 5e-4 / 32_000), (16_000, 2.5e-4), (32_000, 5e-4),
                       (216_000, 2.5e-4), (400_000, 0.0), (500_000, 0.0)],
)  # fmt: skip
def test_the_polynomial_schedule_at_its_corners(step, rate):
    schedule = polynomial(peak=5e-4, warmup=32_000, total=400_000)
    assert float(schedule(jnp.asarray(step))) == pytest.approx(rate, rel=1e-4, abs=1e-10)


def test_a_polynomial_schedule_without_warmup_starts_at_its_peak_and_ends_at_end():
    schedule = polynomial(peak=1.0, warmup=0, total=10, end=0.2)
    assert [round(float(schedule(n)), 5) for n in (0, 5, 10, 20)] == [1.0, 0.6, 0.2, 0.2]


@pytest.mark.parametrize(
    ("step", "scale"),
    [(0, 0.01), (1000, 0.505), (2000, 1.0), (6000, 1.0), (9999, 1.0), (10_000, 1.0),
     (15_000, 0.05**0.5), (20_000, 0.05), (30_000, 0.05)],
)  # fmt: skip
def test_the_tri_stage_schedule_at_its_corners(step, scale):
    schedule = tri_stage(peak=5e-5, total=20_000)
    assert float(schedule(jnp.asarray(step))) == pytest.approx(5e-5 * scale, rel=1e-4)


def test_the_shortest_tri_stage_schedule_decays_in_one_update():
    rate = tri_stage(peak=1.0, total=2, warmup=0.5, hold=0.0, decay=0.5, end_scale=0.25)
    np.testing.assert_allclose([rate(k) for k in range(4)], [0.01, 1.0, 0.25, 0.25], rtol=1e-6)


def test_the_constant_schedule_is_constant():
    assert float(constant(peak=0.3)(7)) == pytest.approx(0.3)
    assert set(SCHEDULES) == {"polynomial", "tri_stage", "constant"}


def test_impossible_schedules_are_input_errors():
    with pytest.raises(InputError, match="warmup=20"):
        polynomial(peak=1.0, warmup=20, total=10)
    with pytest.raises(InputError, match=r"peak=0\.0"):
        polynomial(peak=0.0, warmup=1, total=10)
    with pytest.raises(InputError, match=r"train\.steps=0 updates; needs a peak"):
        polynomial(peak=1.0, warmup=0, total=0)
    with pytest.raises(InputError, match=r"peak=-1\.0"):
        polynomial(peak=-1.0, warmup=1, total=10)
    with pytest.raises(InputError, match="must be 1"):
        tri_stage(peak=1.0, total=10, warmup=0.5)
    for least in (polynomial(peak=1.0, warmup=1, total=1), tri_stage(peak=1.0, total=1)):
        assert float(least(1)) > 0  # the least of all is possible


@pytest.mark.parametrize("beta", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["b1", "b2"])
def test_a_mean_that_keeps_everything_or_more_is_refused(name, beta):
    with pytest.raises(InputError, match=rf"optimizer\.{name}=.* must be in \[0, 1\)"):
        adam(constant(peak=1e-3), **{name: beta})


@pytest.mark.parametrize("end_scale", [0.0, float("nan")])
def test_an_exponential_fall_to_nothing_is_refused(end_scale):
    with pytest.raises(InputError, match=r"schedule\.end_scale=.* must"):
        tri_stage(peak=1.0, total=10, end_scale=end_scale)


@pytest.mark.parametrize("eps", [0.0, -1e-8, float("nan")])
def test_an_epsilon_that_divides_by_zero_is_refused(eps):
    with pytest.raises(InputError, match=r"optimizer\.eps=.* must be positive"):
        adam(constant(peak=1e-3), eps=eps)
