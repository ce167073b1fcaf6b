"""Mesh and shardings: what is split, what is replicated, and that the compiled step says so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from w2v2_jax import partition
from w2v2_jax.batch import Batch
from w2v2_jax.errors import InputError
from w2v2_jax.models.sharding import Named
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.optimizer import adam, constant
from w2v2_jax.train_step import init_state, train_step


def test_the_data_axis_takes_the_devices_the_others_leave():
    mesh = partition.make_mesh(fsdp=2, tensor=2)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert partition.rows_axis(mesh) == 4


@pytest.mark.parametrize(
    "axes", [{"data": 3}, {"data": 16}, {"fsdp": 3}, {"fsdp": 16}, {"fsdp": 0}, {"tensor": -2},
             {"data": 0}],
)  # fmt: skip
def test_a_mesh_that_does_not_match_the_devices_is_an_input_error(axes):
    with pytest.raises(InputError, match="is not the number of devices, 8"):
        partition.make_mesh(**axes)


@pytest.fixture(scope="module")
def mesh():
    return partition.make_mesh(data=2, fsdp=2, tensor=2)


def spec(mesh, shape, names, rules=None):
    leaf = Named(jax.ShapeDtypeStruct(shape, jnp.float32), names)
    return partition.shardings({"leaf": leaf}, mesh, rules)["leaf"].spec


def test_logical_axes_are_split_by_the_table(mesh):
    assert spec(mesh, (16, 32), ("embed", "mlp")) == PartitionSpec("fsdp", "tensor")
    assert spec(mesh, (3, 16), ("layers", "norm")) == PartitionSpec(None, None)


def test_an_axis_its_mesh_axis_does_not_divide_is_replicated(mesh):
    assert spec(mesh, (15, 32), ("embed", "mlp")) == PartitionSpec(None, "tensor")


def test_a_mesh_axis_is_used_once_in_a_parameter(mesh):
    assert spec(mesh, (16, 16), ("embed", "embed")) == PartitionSpec("fsdp", None)


def test_unboxed_leaves_are_replicated(mesh):
    leaf = partition.shardings({"leaf": jnp.zeros(8)}, mesh)["leaf"]
    assert leaf.is_fully_replicated


def test_an_experiment_may_override_the_table(mesh):
    rules = {"mlp": "fsdp", "embed": None}
    assert spec(mesh, (16, 32), ("embed", "mlp"), rules) == PartitionSpec(None, "fsdp")


def test_unknown_axes_are_input_errors(mesh):
    with pytest.raises(InputError, match="no axis 'width'"):
        spec(mesh, (16,), ("width",))
    with pytest.raises(InputError, match=r"mesh\.rules\.mlp='model' is not a mesh axis"):
        spec(mesh, (16,), ("mlp",), {"mlp": "model"})
    with pytest.raises(InputError, match=r"mesh\.rules\.embd is no axis of a parameter; known"):
        spec(mesh, (16,), ("embed",), {"embd": "fsdp"})
    assert spec(mesh, (16,), ("own",), {"own": "fsdp"}) == PartitionSpec("fsdp")


TX = adam(constant(peak=1e-3))


@pytest.fixture(scope="module")
def sharded(quiet, mesh):
    """(objective, abstract state, its shardings) of the tiny network."""
    objective = CTC(quiet, num_classes=5)
    boxed = jax.eval_shape(lambda: init_state(objective, TX, 0))
    return objective, partition.unbox(boxed), partition.shardings(boxed, mesh)


def specs(tree):
    return jax.tree.map(lambda s: s.spec, tree)


def test_both_moments_are_sharded_like_the_parameters(sharded):
    state = sharded[2]
    moments = state.opt_state[0]
    assert specs(moments.first) == specs(state.params) == specs(moments.second)
    assert moments.count.is_fully_replicated and state.step.is_fully_replicated


def test_both_model_axes_split_the_transformers_matrices(sharded):
    layers = sharded[2].params["encoder"]["transformer"]["layers"]
    used = specs(layers)
    assert used["attention"]["qkv_kernel"] == PartitionSpec(None, "fsdp", None, "tensor", None)
    assert used["attention"]["out_kernel"] == PartitionSpec(None, "tensor", None, "fsdp")
    assert used["feed_forward_in"]["kernel"] == PartitionSpec(None, "fsdp", "tensor")
    assert used["feed_forward_out"]["kernel"] == PartitionSpec(None, "tensor", "fsdp")


def test_the_lowered_step_names_both_model_axes_and_splits_the_batch(sharded, mesh, make_batch):
    objective, state, shardings = sharded
    function = functools.partial(train_step, objective=objective, tx=TX, accumulate=1, shards=4)
    rows = partition.batch_sharding(mesh)
    with jax.set_mesh(mesh):
        lowered = jax.jit(function, in_shardings=(shardings, rows, None)).lower(
            state, make_batch(), jnp.uint32(0)
        )
    text = lowered.as_text()
    main = text[text.index("@main") : text.index("->", text.index("@main"))]
    assert '{"fsdp"}' in main and '{"tensor"}' in main and '{"data", "fsdp"}' in main


def test_each_device_holds_its_part_of_a_matrix(sharded):
    _, state, shardings = sharded
    pick = lambda tree: tree.params["encoder"]["transformer"]["layers"]["feed_forward_in"]["kernel"]  # noqa: E731
    assert pick(shardings).shard_shape(pick(state).shape) == (2, 16 // 2, 32 // 2)


def test_a_global_batch_has_its_rows_over_data_and_fsdp(mesh, make_batch):
    local = make_batch()
    batch = partition.global_batch(local, mesh)
    assert batch.waveforms.sharding.spec == PartitionSpec(("data", "fsdp"))
    assert batch.waveforms.addressable_shards[0].data.shape == (2, 1000)
    jax.tree.map(np.testing.assert_array_equal, batch, local)


def test_a_batch_without_labels_stays_without(mesh, make_batch):
    batch = partition.global_batch(make_batch(labels=False), mesh)
    assert isinstance(batch, Batch) and batch.labels is None
