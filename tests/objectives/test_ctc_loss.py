"""The CTC likelihood and its closed-form gradient: optax, finite differences, kernel, mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from w2v2_jax import partition
from w2v2_jax.models.frames import frame_mask
from w2v2_jax.objectives import ctc_loss as module
from w2v2_jax.objectives.ctc_loss import ctc_loss

ROWS, FRAMES, CLASSES, WIDTH = 8, 23, 5, 6


def cases(seed=0, rows=ROWS, frames=FRAMES, width=WIDTH):
    """(logits, counts, labels, num_labels) with few classes, hence repeats: every row has a path.
    Row 0 is the longest, row 1 has no label, row 2 as many frames as its label needs."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, frames, CLASSES)).astype(np.float32) * 2
    labels = rng.integers(1, CLASSES, (rows, width)).astype(np.int32)
    lengths = rng.integers(1, width + 1, rows).astype(np.int32)
    lengths[:3] = width, 0, width
    repeats = (labels[:, 1:] == labels[:, :-1]) & (np.arange(1, width) < lengths[:, None])
    needed = lengths + repeats.sum(1)
    counts = rng.integers(np.maximum(needed, 1), frames + 1).astype(np.int32)
    counts[0], counts[2] = frames, needed[2]
    return logits, counts, labels, lengths


def by_optax(logits, counts, labels, num_labels):
    no_frame = 1.0 - frame_mask(counts, logits.shape[1])
    return optax.ctc_loss(logits, no_frame, labels, 1.0 - frame_mask(num_labels, labels.shape[1]))


def with_gradients(function):
    """Losses and the gradient of their sum, each weighted by its row's number."""

    def weighted(logits, *rest):
        losses = function(logits, *rest)
        return (losses * jnp.arange(1.0, 1.0 + len(losses))).sum(), losses

    return jax.jit(jax.value_and_grad(weighted, has_aux=True))


def found(function, operands):
    (_, losses), gradient = with_gradients(function)(*operands)
    return losses, gradient


def close(got, expected, rtol=1e-5, atol=2e-5):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def ours():
    return with_gradients(ctc_loss)


@pytest.fixture(scope="module")
def of_optax():
    return with_gradients(by_optax)


@pytest.mark.parametrize("seed", range(5))
def test_losses_and_gradients_are_those_of_optax(seed, ours, of_optax):
    operands = cases(seed)
    (_, losses), gradient = ours(*operands)
    (_, expected), expected_gradient = of_optax(*operands)
    close((losses, gradient), (expected, expected_gradient))


def test_hundreds_of_frames_lose_no_precision_to_rounding():
    """A frame's slopes sum to zero over the classes, however long the sums before them."""
    operands = cases(0, rows=3, frames=700, width=120)
    gradient = found(ctc_loss, operands)[1]
    np.testing.assert_allclose(gradient.sum(-1), 0.0, atol=1e-5)
    exact = in_double(*operands)
    weights = np.arange(1.0, 4.0)[:, None, None]
    assert np.linalg.norm(gradient - weights * exact) < 1e-4 * np.linalg.norm(weights * exact)


def in_double(logits, counts, labels, num_labels):
    """The slopes from forward and backward variables in float64, a loop over frames."""
    slopes = np.zeros(logits.shape)
    for row, (count, length) in enumerate(zip(counts, num_labels, strict=True)):
        states = np.zeros(2 * length + 1, int)
        states[1::2] = labels[row, :length]
        x = logits[row, :count].astype(float)
        logs = x - np.log(np.exp(x).sum(-1, keepdims=True))
        forward = variables(logs[:, states], states)
        backward = variables(logs[::-1, states[::-1]], states[::-1])[::-1, ::-1]
        posterior = forward + backward - logs[:, states]
        posterior = np.exp(posterior - np.logaddexp.reduce(posterior, axis=1, keepdims=True))
        slopes[row, :count] = np.exp(logs) - posterior @ np.eye(logits.shape[-1])[states]
    return slopes


def variables(emissions, states):
    unlike = np.append([False, False], states[2:] != states[:-2])[: len(states)]
    own, found = np.where(np.arange(len(states)) == 0, 0.0, -1e300), []
    for emission in emissions:
        one, two = (np.append([-1e300] * by, own)[: len(states)] for by in (1, 2))
        own = np.logaddexp(np.logaddexp(own, one), np.where(unlike, two, -1e300)) + emission
        found.append(own)
    return np.array(found)


def test_the_gradient_is_the_slope_of_finite_differences(ours):
    logits, *rest = cases(7)
    direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    gradient = ours(logits, *rest)[1]
    step = 1e-2
    up, down = (ours(logits + sign * step * direction, *rest)[0][0] for sign in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * step), (gradient * direction).sum(), rtol=1e-3)


def test_without_a_gradient_the_losses_are_the_same_and_only_one_direction_runs():
    operands = cases()
    np.testing.assert_allclose(jax.jit(ctc_loss)(*operands), found(ctc_loss, operands)[0], 1e-6)
    sizes = []
    for function in (ctc_loss, jax.grad(lambda *x: ctc_loss(*x).sum())):
        (scan,) = [
            equation for equation in equations_of(jax.make_jaxpr(function)(*operands).jaxpr)
            if equation.primitive.name == "scan"
        ]  # fmt: skip
        sizes.append(scan.outvars[-1].aval.shape[:2])
    assert sizes == [(FRAMES, 1), (FRAMES, 2)]


def equations_of(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values())):
            if hasattr(value, "jaxpr") and equation.primitive.name != "scan":
                yield from equations_of(value.jaxpr)


def test_padding_is_not_looked_at(ours):
    logits, counts, labels, lengths = cases()
    (_, losses), gradient = ours(logits, counts, labels, lengths)
    filled = np.where(frame_mask(counts, FRAMES)[..., None], logits, 50.0)
    text = np.where(frame_mask(lengths, WIDTH), labels, 1)
    (_, others), slopes = ours(filled, counts, text, lengths)
    close((losses, gradient), (others, slopes), atol=1e-6)
    assert not slopes[~np.asarray(frame_mask(counts, FRAMES))].any()


def test_a_row_without_frames_has_neither_loss_nor_slope(ours):
    logits, counts, labels, lengths = cases()
    counts[:2], lengths[:2] = 0, 0
    (_, losses), gradient = ours(logits, counts, labels, lengths)
    assert not losses[:2].any()
    assert not gradient[:2].any()
    assert np.isfinite(gradient).all()


def test_labels_of_no_width_are_paths_of_blanks():
    logits, counts, labels, _ = cases()
    losses, gradient = found(ctc_loss, (logits, counts, labels[:, :0], np.zeros(ROWS, np.int32)))
    logs = jax.nn.log_softmax(logits)[..., 0] * frame_mask(counts, FRAMES)
    np.testing.assert_allclose(losses, -logs.sum(1), rtol=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("seed", range(2))
def test_the_kernel_computes_what_the_scan_does(seed, monkeypatch, ours):
    operands = cases(seed)
    (_, losses), gradient = ours(*operands)
    monkeypatch.setattr(module, "takes_kernel", lambda width: True)  # interpreted
    traced = jax.jit(lambda *x: found(ctc_loss, x)).trace(*operands)
    assert "pallas_call" in str(traced.jaxpr)
    close(traced.lower().compile()(*operands), (losses, gradient))


@pytest.mark.parametrize("formulation", ["scan", "kernel"])
def test_on_a_mesh_every_device_has_its_rows_alone(formulation, monkeypatch, ours):
    operands = cases()
    (_, losses), gradient = ours(*operands)
    monkeypatch.setattr(module, "takes_kernel", lambda width: formulation == "kernel")
    mesh = partition.make_mesh(data=2, fsdp=2, tensor=2)
    placed = jax.device_put(operands, partition.batch_sharding(mesh))
    with jax.set_mesh(mesh):
        compiled = jax.jit(lambda *x: found(ctc_loss, x)).trace(*placed).lower().compile()
        got = compiled(*placed)
    close(got, (losses, gradient))
    text = compiled.as_text()
    assert "f32[2,2,23" in text  # directions, a device's rows, frames
    for exchange in ("all-gather", "all-to-all", "collective-permute"):
        assert exchange not in text


def test_the_kernel_lowers_to_triton_for_a_gpu(monkeypatch):
    monkeypatch.setattr(module, "platform", lambda: "gpu")
    traced = jax.jit(jax.grad(lambda *x: ctc_loss(*x).sum())).trace(*cases())
    try:
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    except RuntimeError as error:  # later versions of JAX compile for the GPU that is there
        pytest.skip(str(error))
    assert text.count("@__gpu$xla.gpu.triton") == 1


def test_more_states_than_a_kernel_holds_are_scanned(monkeypatch):
    monkeypatch.setattr(module, "platform", lambda: "gpu")
    assert module.takes_kernel(module.WIDEST)
    assert module._width(np.zeros((1, 200))) == 512
    assert module._width(np.zeros((1, module.WIDEST))) == 2 * module.WIDEST + 1
