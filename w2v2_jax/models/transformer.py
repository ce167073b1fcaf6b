"""The context network: a Transformer over masked features (paper section 2).

The parameters of its layers are stacked along a leading axis, whether layers are scanned or
unrolled. So parameter tree, checkpoints and exporters do not depend on this choice.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from w2v2_jax.models import row_random
from w2v2_jax.models.attention import SelfAttention, bert_init, zeros
from w2v2_jax.models.attention_tpu import SAVED
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.models.execution import PLAIN, Execution
from w2v2_jax.models.layer_stack import unstack
from w2v2_jax.models.layers import Dense, LayerNorm, gelu
from w2v2_jax.models.position import PositionalConvolution, StackedConvolutions
from w2v2_jax.models.sharding import Named, constrain_rows, constrain_whole_rows

policies = jax.checkpoint_policies
REMAT_POLICIES = {
    "dots": policies.save_from_both_policies(
        policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names(SAVED)
    ),
    "attention": policies.save_only_these_names(SAVED),
    "full": policies.nothing_saveable,
}


class Adapter(nn.Module):
    """x [B, T, D] -> norm, down to adapter_dim, ReLU, up to D (MMS; Hugging Face's
    Wav2Vec2AttnAdapterLayer). A new adapter returns 0, so that training starts from the unchanged
    network."""

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x):
        config, dtype = self.config, self.execution.dtype
        x = LayerNorm(dtype, name="norm")(x)
        x = Dense(config.adapter_dim, ("embed", None), bert_init, zeros, dtype, name="down")(x)
        return Dense(config.d_model, (None, "embed"), zeros, zeros, dtype, name="up")(
            jax.nn.relu(x)
        )


class TransformerLayer(nn.Module):
    """One block, post-LN (attention, add, norm, feed-forward, add, norm) or pre-LN."""

    config: ModelConfig
    execution: Execution

    @nn.compact
    def __call__(self, x, real, keys):
        config, dtype = self.config, self.execution.dtype
        pre = config.norm_order == "pre"
        attention_norm = LayerNorm(dtype, name="attention_norm")
        feed_forward_norm = LayerNorm(dtype, name="feed_forward_norm")

        skip = x
        x = attention_norm(x) if pre else x
        x = SelfAttention(config, self.execution, name="attention")(
            x, real, row_random.fold(keys, 0)
        )
        x = skip + row_random.dropout(x, config.dropout, row_random.fold(keys, 1))
        x = x if pre else attention_norm(x)

        skip = x
        x = feed_forward_norm(x) if pre else x
        x = Dense(
            config.ffn_dim, ("embed", "mlp"), bert_init, zeros, dtype, name="feed_forward_in"
        )(x)
        x = row_random.dropout(
            gelu(constrain_rows(x)), config.activation_dropout, row_random.fold(keys, 2)
        )
        x = Dense(
            config.d_model,
            ("mlp", "embed"),
            bert_init,
            zeros,
            dtype,
            name="feed_forward_out",
        )(x)
        self.sow("intermediates", "feed_forward", x)  # for `models/teacher.py`; else a no-op
        x = skip + row_random.dropout(
            constrain_whole_rows(x), config.dropout, row_random.fold(keys, 3)
        )
        if config.adapter_dim:
            x = x + Adapter(config, self.execution, name="adapter")(x)
        return x if pre else feed_forward_norm(x)


def _stack_axis(leaf):
    return leaf.replace(names=("layers", *leaf.names))


class Transformer(nn.Module):
    """x [B, T, D], real [B, T], keys [B] or None -> (context [B, T, D], states).

    states is the list of every block's input and the last output [B, T, D] (index 0 is the input
    of block 0) when `hidden_states`, else (). Pre-LN states are not normalised (docs/traps.md#t18).
    With `middle`, states is the output of that many blocks alone, normalised as the last one.
    """

    config: ModelConfig
    execution: Execution = PLAIN

    @nn.compact
    def __call__(self, x, real, keys, *, hidden_states: bool = False, middle: int = 0):
        config, execution = self.config, self.execution
        layer = TransformerLayer(config, execution, parent=None)

        def init_layers(key):
            sample = jnp.zeros((1, 1, config.d_model), execution.dtype)

            def init(key):
                return layer.init(key, sample, jnp.ones((1, 1), bool), None)["params"]

            stacked = jax.vmap(init)(jax.random.split(key, config.num_layers))
            return jax.tree.map(_stack_axis, stacked, is_leaf=lambda leaf: isinstance(leaf, Named))

        layers = self.param("layers", init_layers)

        x = jnp.where(real[..., None], x, 0)
        if config.position_depth > 1:
            places = StackedConvolutions(config, execution, name="position")(x, real)
        else:
            places = PositionalConvolution(config, execution, name="position")(x)
        x = constrain_whole_rows(x + places)
        norm = LayerNorm(execution.dtype, name="norm")
        x = norm(x) if config.norm_order == "post" else x
        x = row_random.dropout(x, config.dropout, row_random.fold(keys, row_random.ENTRY))

        def block(x, index, params):
            block_keys = row_random.fold(row_random.fold(keys, row_random.LAYER), index)
            y = layer.apply({"params": params}, x, real, block_keys)
            if keys is None or config.layer_drop == 0.0:
                return y
            # LayerDrop by select, a draw per row: no branch that devices could disagree on
            # (docs/traps.md#t37).
            draw = jax.vmap(jax.random.uniform)(row_random.fold(block_keys, 4))
            return jnp.where((draw >= config.layer_drop)[:, None, None], y, x)

        if execution.remat != "none":
            block = jax.checkpoint(block, policy=REMAT_POLICIES[execution.remat])
        states = [x]
        if execution.scan_layers and not hidden_states and not middle:
            indices = jnp.arange(config.num_layers)
            x, _ = jax.lax.scan(lambda x, p: (block(x, *p), None), x, (indices, layers))
        else:
            stacks, tree = jax.tree.flatten(layers)
            for index, leaves in enumerate(zip(*map(unstack, stacks), strict=True)):
                x = block(x, index, tree.unflatten(leaves))
                states.append(x)
        last = norm if config.norm_order == "pre" else lambda x: x
        if middle:
            return last(x), (last(states[middle]),)
        return last(x), tuple(states) if hidden_states else ()
