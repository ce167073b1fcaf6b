"""Self-attention over real frames, in several formulations for different devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn

from w2v2_jax.models import attention_gpu, attention_kernel_tpu, row_random
from w2v2_jax.models.attention_gpu import WIDEST
from w2v2_jax.models.attention_tpu import EXCLUDED, few_passes
from w2v2_jax.models.backend import has_matrix_units, has_mosaic, has_triton, platform
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import Execution
from w2v2_jax.models.layers import torch_linear_kernel
from w2v2_jax.models.mixed_precision import add_bias, contract, range_kept
from w2v2_jax.models.sharding import constrain_rows, constrain_whole_rows, named

bert_init = nn.initializers.normal(0.02)  # fairseq init_bert_params
zeros = nn.initializers.zeros


def _fused_projections(x, kernel, bias):
    """Scaled queries, keys and values [B, H, T, s] of one matmul."""
    qkv = constrain_rows(contract("btd,dchs->cbhts", x, kernel), axis=1)
    qkv = add_bias(qkv, bias[:, None, :, None, :])
    return qkv * jnp.array([kernel.shape[-1] ** -0.5, 1, 1], x.dtype).reshape(3, 1, 1, 1, 1)


def plain(x, kernel, bias, out_kernel, real, keys, rate: float):
    """One matmul for queries, keys and values, then softmax: x [B, T, D] -> [B, T, D]."""
    query, key, value = _fused_projections(x, kernel, bias)
    scores = contract("bhqs,bhks->bhqk", query, key, "float32")  # float32: softmax
    scores = jnp.where(real[:, None, None, :], scores, EXCLUDED)
    weights = row_random.dropout(jax.nn.softmax(scores, axis=-1).astype(x.dtype), rate, keys)
    context = constrain_rows(contract("bhqk,bhks->bhqs", weights, value))
    return contract("bhts,hsd->btd", context, out_kernel)


def tpu_few_passes(x, kernel, bias, out_kernel, real, keys, rate: float):
    """`plain` with few passes over the scores, made for TPU: see `attention_tpu`."""
    query, key, value = _fused_projections(x, kernel, bias)
    context = constrain_rows(few_passes(query, key, value, real, keys, rate))
    return contract("bhts,hsd->btd", context, out_kernel)


def tpu_kernel(x, kernel, bias, out_kernel, real, keys, rate: float):
    """`plain` with softmax, dropout and sum in TPU kernels: see `attention_kernel_tpu`. Rows that
    are too long for them are `tpu_few_passes`."""
    heads, size = kernel.shape[2:]
    if not attention_kernel_tpu.runs(heads, x.shape[1], size, x.dtype):
        return tpu_few_passes(x, kernel, bias, out_kernel, real, keys, rate)
    qkv = constrain_rows(contract("btd,dchs->bchst", x, kernel))
    qkv = add_bias(qkv, bias[None, ..., None])
    context = constrain_rows(attention_kernel_tpu.attend(qkv, real, keys, rate))
    return contract("bhst,hsd->btd", context, out_kernel)


def gpu_kernel(x, weights, bias, out_kernel, real, keys, rate: float):
    """`plain` with softmax, dropout and sum in GPU kernels: see `attention_gpu`."""
    query, key, value = _fused_projections(x, weights, bias)
    context = constrain_rows(attention_gpu.tiled(query, key, value, real, keys, rate))
    return contract("bhts,hsd->btd", context, out_kernel)


def _apart() -> bool:
    """Whether heads are split over several devices."""
    return jax.sharding.get_abstract_mesh().shape.get("tensor", 1) > 1


def _projections(x, kernel, bias):
    """Queries, keys and values [B, H, T, s] from one matmul of plain matrices, because XLA:CPU
    multiplies other layouts half as fast. If heads are on several devices there are three matmuls,
    because an axis that joins the three with the heads cannot be split by heads."""
    dim, _, heads, _ = kernel.shape

    def project(kernel, bias):
        out = constrain_rows(contract("btd,dn->btn", x, kernel.reshape(dim, -1)))
        return add_bias(out, bias.reshape(1, 1, -1))

    if _apart():
        parts = [project(kernel[:, i], bias[i]) for i in range(3)]
    else:
        parts = jnp.split(project(kernel, bias), 3, axis=-1)
    return tuple(rearrange(part, "b t (h s) -> b h t s", h=heads) for part in parts)


def _output(context, out_kernel):
    """context [B, H, T, s] -> [B, T, D]."""
    merged = rearrange(context, "b h t s -> b t (h s)")
    return contract("btn,nd->btd", merged, out_kernel.reshape(-1, out_kernel.shape[-1]))


def late_division(x, kernel, bias, out_kernel, real, keys, rate: float):
    """Plain matrices, with the division by the softmax's sum on the [B, H, T, s] result.

    The [B, H, T, T] weights are read and written fewer times, above all in the backward pass, where
    the softmax of `plain` reduces over them once more. On CPU this takes 0.8 of the time of
    `plain`.
    """
    query, key, value = _projections(x, kernel, bias)
    query = query * jnp.asarray(kernel.shape[-1] ** -0.5, x.dtype)
    scores = contract("bhqs,bhks->bhqk", query, key, "float32")  # float32: softmax
    scores = jnp.where(real[:, None, None, :], scores, EXCLUDED)
    top = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
    weights = jnp.exp(scores - top)
    total = weights.sum(-1, keepdims=True)  # [B, H, T, 1] float32, before any dropout
    dropped = row_random.dropout(weights.astype(x.dtype), rate, keys)
    # Weights of up to 1 for each frame: their sum may be larger than float16 has numbers.
    context = contract("bhqk,bhks->bhqs", dropped, value, range_kept(x.dtype))
    context = (constrain_rows(context).astype(jnp.float32) / total).astype(x.dtype)
    return _output(context, out_kernel)


FORMULATIONS = {
    "plain": plain,
    "late_division": late_division,
    "tpu_few_passes": tpu_few_passes,
    "tpu_kernel": tpu_kernel,
    "gpu_kernel": gpu_kernel,
}


def choose(name: str, *, dtype="float32", size: int = 64):
    """The formulation with a name, for heads of width `size` in `dtype`.

    "auto" is the fastest one measured on the device, for TPU the fastest by the schedules of its
    compiler. "gpu_kernel" is `plain` and "tpu_kernel" is `tpu_few_passes` if it cannot run, and in
    float16, for which no device has tested them.
    """
    where, dtype = platform(), jnp.dtype(dtype)
    gpu, half, tested = where == "gpu", dtype == jnp.bfloat16, dtype != jnp.float16
    if name == "auto" and where == "cpu":
        # With heads on several devices, three projections would exchange three gradients of x.
        name = "plain" if _apart() else "late_division"
    if name == "auto" and where == "tpu":
        name = "tpu_kernel" if half else "tpu_few_passes"
    if name == "auto":
        name = "gpu_kernel" if gpu and half else "plain"
    if name == "tpu_kernel" and not (tested and has_mosaic()):
        name = "tpu_few_passes"
    runs = tested and size <= WIDEST and has_matrix_units() and has_triton()
    if name == "gpu_kernel" and not runs:
        name = "plain"
    return FORMULATIONS[name]


class SelfAttention(nn.Module):
    """Multi-head attention over real frames, biases everywhere; one kernel for q, k and v."""

    config: ModelConfig
    execution: Execution

    @nn.compact
    def __call__(self, x, real, keys):
        config, dtype = self.config, jnp.dtype(self.execution.dtype)
        dim, heads = config.d_model, config.num_heads
        size = dim // heads
        kernel = self.param(
            "qkv_kernel",
            named(bert_init, ("embed", None, "heads", None)),
            (dim, 3, heads, size),
        )
        bias = self.param("qkv_bias", named(zeros, (None, "heads", None)), (3, heads, size))
        out_kernel = self.param(
            "out_kernel",
            named(bert_init, ("heads", None, "embed")),
            (heads, size, dim),
        )
        out_bias = self.param("out_bias", named(zeros, ("embed",)), (dim,))
        if config.lora_rank:
            kernel, out_kernel = self._adapted(kernel, out_kernel)

        attend = choose(self.execution.attention_formulation, dtype=dtype, size=size)
        rate = config.attention_dropout
        out = constrain_whole_rows(
            attend(x.astype(dtype), kernel, bias, out_kernel, real, keys, rate)
        )
        return add_bias(out, out_bias[None, None])

    def _adapted(self, kernel, out_kernel):
        """The kernels with their low-rank updates added (LoRA, arXiv 2106.09685). This equals the
        adapted layer for every formulation, and is what a merged export holds."""
        config = self.config
        rank, scale = config.lora_rank, config.lora_alpha / config.lora_rank
        dim, heads, size = config.d_model, config.num_heads, config.d_model // config.num_heads
        init = lambda key, shape: torch_linear_kernel(key, (dim, shape[-1])).reshape(shape)  # noqa: E731
        # As in PEFT: the down matrix is random and the up matrix 0, so that training starts from
        # the unchanged network.

        def fused(key, shape):
            keys = jax.random.split(key, 3)
            return jnp.stack([init(one, (dim, rank)) for one in keys], axis=1)

        down = self.param("lora_qkv_down", named(fused, ("embed", None, None)), (dim, 3, rank))
        up = self.param(
            "lora_qkv_up", named(zeros, (None, None, "heads", None)), (3, rank, heads, size)
        )
        out_down = self.param(
            "lora_out_down", named(init, ("heads", None, None)), (heads, size, rank)
        )
        out_up = self.param("lora_out_up", named(zeros, (None, "embed")), (rank, dim))
        update = jnp.einsum("dcr,crhs->dchs", down, up, precision="highest")
        out_update = jnp.einsum("hsr,rd->hsd", out_down, out_up, precision="highest")
        return kernel + scale * update, out_kernel + scale * out_update
