"""The feature encoder's first layer for TPU, with each row cut into pieces in time.

A TPU tiles the two fastest axes of an array by 8 x 128. The arrays of a convolution over few long
rows [B, L, C] are rearranged in memory before and after every layer, in four fifths of its
estimated cycles. With many short rows they are not, because rows are then neighbours in the tiles,
and time is a slow axis in which shifts and strides cost nothing. So each row is cut at the waveform
into PIECES pieces, each with the samples that its last frame still needs (80 of 400), and joined
again after the last layer. The numbers are the same, for half a per cent more frames.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from w2v2_jax.models.frames import receptive
from w2v2_jax.models.mixed_precision import contract, range_kept

PIECES = 8


class Cut(NamedTuple):
    """How a row of L frames after layer 0 is cut: each piece owns `own` of them and computes
    `halo` of the next one's again; `hop` and `reach` are samples between two pieces' beginnings and
    in a piece; `frames` those of the last layer in a piece."""

    own: int
    hop: int
    reach: int
    frames: int


def cut_of(first_frames: int, conv_layers) -> Cut:
    """The pieces that cover `first_frames` frames of layer 0."""
    field, stride = receptive(conv_layers)
    later = stride // conv_layers[0][2]
    frames = -(-first_frames // (later * PIECES))
    return Cut(frames * later, frames * stride, (frames - 1) * stride + field, frames)


def cut(waveforms: jax.Array, spans: Cut) -> jax.Array:
    """[B, S] -> [B * PIECES, reach]; samples after the end are zeros."""
    hop, overlap = spans.hop, spans.reach - spans.hop
    room = (PIECES + 1) * hop
    length = min(waveforms.shape[1], PIECES * hop + overlap)
    x = jnp.pad(waveforms[:, :length], ((0, 0), (0, max(0, room - length))))[:, :room]
    x = rearrange(x, "b (n s) -> b n s", s=hop)
    x = jnp.concatenate([x[:, :-1], x[:, 1:, :overlap]], axis=-1)
    return rearrange(x, "b n s -> (b n) s")


def join(x: jax.Array, frames: int) -> jax.Array:
    """[B * PIECES, T', C] -> [B, frames, C]."""
    return rearrange(x, "(b n) t c -> b (n t) c", n=PIECES)[:, :frames]


def taps(x: jax.Array, width: int, stride: int) -> jax.Array:
    """[N, S'] -> [T', width, N]: what layer 0 sees of each piece, time slowest."""
    x = x.T
    frames = (x.shape[0] - width) // stride + 1
    if width % stride:
        views = [x[j : j + (frames - 1) * stride + 1 : stride] for j in range(width)]
        return jnp.stack(views, axis=1)
    views = [x[q : q + frames * stride] for q in range(0, width, stride)]
    return jnp.concatenate([rearrange(v, "(t s) n -> t s n", s=stride) for v in views], axis=1)


def convolve(patches: jax.Array, kernel: jax.Array) -> jax.Array:
    """patches [T', k, N], kernel [k, O] -> [N, T', O]."""
    return contract("tkn,ko->nto", patches, kernel, range_kept(patches.dtype))


def owned(real: jax.Array, spans: Cut, length: int) -> jax.Array:
    """real [B, L] -> [length, B * PIECES] float32: 1 where a piece owns a real frame."""
    room = PIECES * spans.own
    x = jnp.pad(real.astype(jnp.float32), ((0, 0), (0, room - real.shape[1])))
    x = rearrange(x, "b (n t) -> t (b n)", n=PIECES)
    return jnp.pad(x, ((0, length - spans.own), (0, 0)))


def statistics(patches: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """patches [T', k, N] and weight [T', N] float32 -> patches less their row's mean, and their
    covariance over the row's weighted frames [k, k, B]."""

    def by_row(x):  # [..., N] -> [..., B]: a row's pieces added up
        return x.reshape(*x.shape[:-1], -1, PIECES).sum(-1)

    count = jnp.maximum(by_row(weight.sum(0)), 1.0)  # [B]
    mean = by_row((patches * weight[:, None]).sum(0)) / count[None]  # [k, B]
    centred = patches - mean.repeat(PIECES, 1)[None]
    products = (centred * weight[:, None])[:, :, None] * centred[:, None]  # [T', k, k, N], fused
    return centred, by_row(products.sum(0)) / count[None, None]


def group_norm(centred, covariance, kernel, scale, bias, *, epsilon: float) -> jax.Array:
    """`folded_group_norm` over pieces: centred [T', k, N] in the compute dtype, kernel [k, O] ->
    [N, T', O].

    The gain that makes a row's variance 1 multiplies the convolution's result instead of its
    kernel, so that one kernel serves all rows.
    """
    variance = jnp.einsum("jo,jkb,ko->bo", kernel, covariance, kernel, precision="highest")
    gain = scale[None] * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + epsilon)  # [B, O]
    # float32, so that one pass over the gradient gives that of gain and bias, neither rounded.
    gain = gain.repeat(PIECES, 0)[:, None]  # [N, 1, O]
    out = convolve(centred, kernel).astype(jnp.float32)
    return (out * gain + bias[None, None]).astype(centred.dtype)
