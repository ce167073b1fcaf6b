"""Connectionist temporal classification: likelihood and gradient in one pass over the frames.

Graves et al. 2006, section 4: a label of U classes becomes S = 2U + 1 states, a blank around every
class; a frame stays in its state, goes to the next, or skips a blank between unlike classes.
Forward variables run from the first frame, backward variables from the last. With frames and states
reversed the two are the same problem, so both are rows of one recursion of T steps. The gradient
has a closed form (equation 16): softmax minus the posterior of each class.

A step is a few microseconds of work, which a GPU takes longer to start than to do. So there the
recursion is one Pallas kernel for Triton; elsewhere it is interpreted, which the tests use.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jax.experimental import pallas as pl

from w2v2_jax.models.backend import has_triton, platform, triton
from w2v2_jax.models.frames import frame_mask
from w2v2_jax.models.sharding import ROWS, run_per_device

# `<s>` in fairseq's dictionary, `<pad>` in Hugging Face's: the same row (docs/traps.md#t43)
BLANK = 0
NEVER = -1e30  # log of no probability: finite, so that a difference of two is never NaN
WIDEST = 4096  # states of a kernel: it keeps several numbers of each in registers
STATES_A_WARP, MOST_WARPS = 128, 16


class _Problem(NamedTuple):
    """The recursion's input, for one direction; with both, each array has a leading axis of 2."""

    emissions: jax.Array  # [B, T, S] log of each state's score at each frame
    skips: jax.Array  # [B, S] 0 where a state may follow the one two before it, else NEVER
    bounds: jax.Array  # [B, 3] first frame, end of frames, first state


def _states(labels, width: int):
    """labels [B, U] -> the class of each state [B, width >= 2U + 1]."""
    pairs = jnp.pad(labels[..., None], ((0, 0), (0, 0), (1, 0)), constant_values=BLANK)
    states = rearrange(pairs, "b u two -> b (u two)")
    more = width - states.shape[1]
    return jnp.pad(states, ((0, 0), (0, more)), constant_values=BLANK)


def _problem(emissions, states, *bounds) -> _Problem:
    # Every other state is a blank, so a blank equals the state two before it.
    like = states[:, 2:] == states[:, :-2]
    skips = jnp.pad(jnp.where(like, NEVER, 0.0), ((0, 0), (2, 0)), constant_values=NEVER)
    return _Problem(emissions, skips[:, : states.shape[1]], jnp.stack(bounds, -1).astype(jnp.int32))


def _forward_problem(emissions, states, counts) -> _Problem:
    return _problem(emissions, states, jnp.zeros_like(counts), counts, jnp.zeros_like(counts))


def _backward_problem(emissions, states, counts, sizes) -> _Problem:
    """Frames and states run backwards, hence padding comes first. sizes [B]: states of each row."""
    frames, width = emissions.shape[1:]
    first, start = frames - counts, width - sizes
    end = jnp.full_like(counts, frames)
    return _problem(emissions[:, ::-1, ::-1], states[:, ::-1], first, end, start)


def _advance(stay, step, skip, emission):
    """The next frame's log probabilities from those of a state, of the one before it and of the
    one two before it."""
    top = jnp.maximum(jnp.maximum(stay, step), skip)
    total = jnp.exp(stay - top) + jnp.exp(step - top) + jnp.exp(skip - top)
    return top + jnp.log(total) + emission


def _scanned(problem: _Problem):
    """The log probabilities of the states after every frame [..., S] and each [..., T, S], in a
    scan over frames. Before its first frame a row is in its first state; after its last it stays.
    """
    emissions, skips, bounds = problem
    frames, width = emissions.shape[-2:]
    first, end, start = bounds[..., :1], bounds[..., 1:2], bounds[..., 2:]
    front = [(0, 0)] * (skips.ndim - 1)

    def behind(x, by: int):
        return jnp.pad(x, [*front, (by, 0)], constant_values=NEVER)[..., :width]

    def step(alpha, frame):
        t, emission = frame
        moved = _advance(alpha, behind(alpha, 1), behind(alpha, 2) + skips, emission)
        alpha = jnp.where((t >= first) & (t < end), moved, alpha)
        return alpha, alpha

    position = jax.lax.broadcasted_iota(jnp.int32, skips.shape, skips.ndim - 1)
    alpha = jnp.where(position == start, 0.0, NEVER)
    frames = jnp.arange(frames), jnp.moveaxis(emissions, -2, 0)
    last, each = jax.lax.scan(step, alpha, frames)
    return last, jnp.moveaxis(each, 0, -2)


def _kernel(emissions, skips, bounds, out, *, barrier):
    """`_scanned` for a row: refs [T, S], [S], [3], [T, S]. A state's neighbours may belong to
    another thread, so they are read from `out`."""
    frames, width = out.shape
    states = jnp.arange(width)
    first, end, start = bounds[0], bounds[1], bounds[2]
    skip_cost, step_cost = skips[...], jnp.where(states == 0, NEVER, 0.0)

    def at(state):
        return jnp.where(states == state, 0.0, NEVER)

    def behind(t, by: int):
        return out[t, jnp.maximum(states - by, 0)]

    def step(t, carry):
        alpha, one, two, emission = carry
        # Read one frame in advance, so that only the neighbours wait for memory.
        following = emissions[jnp.minimum(t + 1, frames - 1), :]
        moved = _advance(alpha, one + step_cost, two + skip_cost, emission)
        alpha = jnp.where((t >= first) & (t < end), moved, alpha)
        out[t, :] = alpha
        barrier()
        return alpha, behind(t, 1), behind(t, 2), following

    carry = at(start), at(start + 1), at(start + 2), emissions[0, :]
    jax.lax.fori_loop(0, frames, step, carry)


def _called(problem: _Problem):
    """The second result of `_scanned` from a kernel, with one program of the grid per row and
    direction; S is a power of two."""
    directions, rows, frames, width = problem.emissions.shape
    on_gpu = platform() == "gpu"
    whole = pl.BlockSpec((None, None, frames, width), lambda d, b: (d, b, 0, 0))
    warps = min(max(width // STATES_A_WARP, 1), MOST_WARPS)
    return pl.pallas_call(
        functools.partial(_kernel, barrier=triton.debug_barrier if on_gpu else lambda: None),
        grid=(directions, rows),
        in_specs=[
            whole,
            pl.BlockSpec((None, None, width), lambda d, b: (d, b, 0)),
            pl.BlockSpec((None, None, 3), lambda d, b: (d, b, 0)),
        ],
        out_specs=whole,
        out_shape=jax.ShapeDtypeStruct(problem.emissions.shape, jnp.float32),
        interpret=not on_gpu,
        # One stage: a step reads what the one before it wrote.
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=1),
        name="ctc_states",
    )(*problem)


def takes_kernel(width: int) -> bool:
    """Whether the recursion over `width` states is a kernel on the traced device."""
    return platform() == "gpu" and has_triton() and width <= WIDEST


def _width(labels) -> int:
    """States S in memory: Triton's vectors are powers of two, and the states added are blanks."""
    width = 2 * labels.shape[1] + 1
    padded = max(16, 1 << (width - 1).bit_length())
    return padded if takes_kernel(padded) else width


def _recursion(*problems: _Problem):
    """`_scanned` of [directions, B, T, S], by the kernel where it runs."""
    problem = jax.tree.map(lambda *directions: jnp.stack(directions), *problems)
    if not takes_kernel(problem.emissions.shape[-1]):
        return _scanned(problem)
    rows = (None, ROWS)
    each = run_per_device(_called, problem, layouts=(rows,), result=rows, kernel=True)
    return each[..., -1, :], each


def _emissions(logits, states):
    """Each state's score at each frame [B, T, S], relative to the frame's highest: the sums stay
    small, and with them their rounding."""
    scores = logits - logits.max(-1, keepdims=True)
    classes = jax.nn.one_hot(states, logits.shape[-1])
    return jnp.einsum("btc,bsc->bts", scores, classes, precision="highest")


def _losses(logits, counts, final, sizes):
    """[B] from the states' log probabilities after the last frame [B, S]: a path ends in the last
    blank or in the last class, if there is one."""
    last, before = (
        jnp.take_along_axis(final, jnp.maximum(sizes - by, 0)[:, None], axis=1)[:, 0]
        for by in (1, 2)
    )
    before = jnp.where(sizes > 1, before, NEVER)
    normalisers = jax.nn.logsumexp(logits - logits.max(-1, keepdims=True), -1)  # [B, T]
    of_row = jnp.where(frame_mask(counts, logits.shape[1]), normalisers, 0.0).sum(1)
    return of_row - jnp.logaddexp(last, before)


def _slopes(logits, counts, states, emissions, alpha, beta):
    """The gradient of each row's loss by its logits [B, T, C]. Posteriors are normalised per frame,
    so that they sum to one in spite of the rounding of sums over hundreds of frames."""
    posteriors = jax.nn.softmax(alpha + beta - emissions, axis=-1)  # [B, T, S]
    classes = jax.nn.one_hot(states, logits.shape[-1])  # [B, S, C]
    of_class = jnp.einsum("bts,bsc->btc", posteriors, classes, precision="highest")
    real = frame_mask(counts, logits.shape[1])[..., None]
    return jnp.where(real, jax.nn.softmax(logits, axis=-1) - of_class, 0.0)


@jax.custom_vjp
def ctc_loss(logits, counts, labels, num_labels):
    """-log of the summed probability of all paths that give the label, [B].

    logits [B, T, C] float32, counts [B] real frames, labels [B, U], num_labels [B]; what follows
    the real frames and labels is ignored. A row needs a path, T >= U + adjacent repeats; otherwise
    its loss is about 1e30 and its gradient has no meaning. Without frames and labels the loss is 0.
    """
    states, sizes = _states(labels, _width(labels)), 2 * num_labels + 1
    (final,), _ = _recursion(_forward_problem(_emissions(logits, states), states, counts))
    return _losses(logits, counts, final, sizes)


def _ctc_loss_forward(logits, counts, labels, num_labels):
    states, sizes = _states(labels, _width(labels)), 2 * num_labels + 1
    emissions = _emissions(logits, states)
    (final, _), (alpha, beta) = _recursion(
        _forward_problem(emissions, states, counts),
        _backward_problem(emissions, states, counts, sizes),
    )
    losses = _losses(logits, counts, final, sizes)
    return losses, _slopes(logits, counts, states, emissions, alpha, beta[:, ::-1, ::-1])


def _ctc_loss_backward(slopes, gradient):
    return slopes * gradient[:, None, None], None, None, None


ctc_loss.defvjp(_ctc_loss_forward, _ctc_loss_backward)
