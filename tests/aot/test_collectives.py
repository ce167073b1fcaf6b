"""Collectives: who takes part, how many bytes over which links, and no surprise among them."""

import math

import jax
import pytest

from w2v2_jax import partition
from w2v2_jax.aot import collectives, hlo, report, step
from w2v2_jax.aot.collectives import Collective
from w2v2_jax.aot.groups import device_groups
from w2v2_jax.experiment import build as experiment
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.models import attention, feature_extractor, mixed_precision, position, wav2vec2
from w2v2_jax.objectives import contrastive

MESH = {"data": 2, "fsdp": 2, "tensor": 2}
GROUPS = {
    "replica_groups={{0,2},{4,6},{1,3},{5,7}}": [(0, 2), (4, 6), (1, 3), (5, 7)],
    "replica_groups=[4,2]<=[8]": [(0, 1), (2, 3), (4, 5), (6, 7)],
    "replica_groups=[4,2]<=[4,2]T(1,0)": [(0, 2), (4, 6), (1, 3), (5, 7)],
    "replica_groups=mesh['a'=2,'b'=4] {'b'}": [(0, 1, 2, 3), (4, 5, 6, 7)],
    "replica_groups=mesh['a'=2,'b'=4] {'a'}": [(0, 4), (1, 5), (2, 6), (3, 7)],
    "replica_groups=mesh['a'=2,'b'=4] {'a','b'}": [(0, 1, 2, 3, 4, 5, 6, 7)],
    "replica_groups=mesh['a'=8] {'a':(2)2}": [(0, 2), (1, 3), (4, 6), (5, 7)],
    "replica_groups=mesh['a'=1,'b'=2,'c'=4], device_ids=([4,2]T(1,0)) {'b'}":
        [(0, 1), (2, 3), (4, 5), (6, 7)],
    "source_target_pairs={{0,1},{1,0}}": [(0, 1), (1, 0)],
    "replica_groups={}, dimensions={0}": [(0, 1, 2, 3, 4, 5, 6, 7)],
}  # fmt: skip


@pytest.mark.parametrize("text", GROUPS)
def test_every_way_to_write_groups_is_read(text):
    found = device_groups(f", channel_id=1, {text}, use_global_device_ids=true", 8)
    assert found == GROUPS[text]


def test_groups_in_an_unknown_form_are_an_error_not_a_guess():
    with pytest.raises(ValueError, match="not read"):
        device_groups("replica_groups=<new form>", 8)


def test_a_group_runs_along_the_axes_in_which_its_members_differ():
    assert collectives.axes_of([(0, 1), (2, 3)], MESH) == ("tensor",)
    assert collectives.axes_of([(0, 6), (1, 7)], MESH) == ("data", "fsdp")


def collective(kind, group=8, slices=1):
    return Collective(kind, "x", "", 800, 3, group, ("data",), slices)


def test_a_ring_sends_each_byte_twice_to_reduce_and_once_to_gather():
    assert collective("all-reduce").wire() == (2 * 2400 * 7 / 8, 0)
    assert collective("all-gather").wire() == collective("reduce-scatter").wire()
    assert collective("all-gather").wire() == (2400 * 7 / 8, 0)


def test_between_slices_a_chip_sends_its_share_over_the_data_center():
    ici, dcn = collective("all-reduce", slices=2).wire()
    assert ici == 2 * 2400 * 3 / 4 and dcn == 2 * (2400 / 4) / 2


def find(lines: str):
    text = f"HloModule m\n\n%all-reduce-scatter.1 (p: f32[8]) -> f32[4] {{\n{lines}\n}}\n"
    text += "\nENTRY %main () -> f32[] {\n  %z = f32[8]{0} parameter(0)\n"
    text += "  %f = f32[4]{0} fusion(%z), kind=kCustom, calls=%all-reduce-scatter.1\n}\n"
    module = hlo.parse(text)
    return collectives.find(module, hlo.executions(module), mesh_shape=MESH, slice_of=[0] * 8)


def test_tpus_fused_all_reduce_and_slice_is_a_reduce_scatter_of_the_whole():
    (one,) = find("  %p = f32[8]{0} parameter(0)\n  %r = f32[8]{0} all-reduce(%p), "
                  "replica_groups=[4,2]<=[8], to_apply=%add")  # fmt: skip
    assert (one.kind, one.payload, one.axes) == ("reduce-scatter", 32, ("tensor",))


def test_a_reduce_scatters_payload_is_the_whole_it_reduces():
    (one,) = find("  %p = f32[8]{0} parameter(0)\n  %r = f32[4]{0} reduce-scatter(%p), "
                  "replica_groups=[4,2]<=[8], dimensions={0}, to_apply=%add")  # fmt: skip
    assert (one.kind, one.payload, one.wire()) == ("reduce-scatter", 32, (16, 0))


def test_a_start_counts_its_result_once_and_its_done_not_at_all():
    (one,) = find(
        "  %p = f32[8]{0} parameter(0)\n"
        "  %s = (f32[8]{0}, f32[16]{0}, u32[]{:S(2)}, u32[]{:S(2)}) all-gather-start(%p), "
        "replica_groups=[4,2]<=[8], dimensions={0}\n"
        "  %d = f32[16]{0} all-gather-done(%s)"
    )
    assert (one.kind, one.payload) == ("all-gather", 64)


def in_fusions(bodies):
    """What is found where each body {name: instruction} is a fusion of the entry computation."""
    text = "HloModule m\n"
    for name, body in bodies.items():
        text += f"\n%{name} (p: f32[8]) -> f32[16] {{\n  %p = f32[8]{{0}} parameter(0)\n"
        text += f"  %g.{name} = f32[16]{{0}} {body}\n}}\n"
    text += "\nENTRY %main () -> f32[] {\n  %z = f32[8]{0} parameter(0)\n"
    for name in bodies:
        text += f"  %f.{name} = f32[16]{{0}} fusion(%z), kind=kCustom, calls=%{name}\n"
    module = hlo.parse(text + "}\n")
    found = collectives.find(module, hlo.executions(module), mesh_shape=MESH, slice_of=[0] * 8)
    return [(one.kind, one.payload, one.times) for one in found]


GATHER = "all-gather(%p), channel_id=11, replica_groups=[4,2]<=[8], dimensions={0}"


def test_an_asynchronous_collective_in_three_fusions_is_counted_once():
    assert in_fusions(dict.fromkeys(("start", "matmul", "done"), GATHER)) == [("all-gather", 64, 1)]


def test_copies_of_it_in_an_unrolled_loop_are_counted_each():
    bodies = {
        f"{place}{copy}": f'{GATHER}, frontend_attributes={{chain_id="{copy}"}}'
        for copy in range(2) for place in ("start", "done")
    }  # fmt: skip
    assert in_fusions(bodies) == [("all-gather", 64, 1)] * 2


def test_a_send_to_the_other_slice_crosses_the_data_center_and_one_to_the_host_does_not():
    shape = "(f32[4]{0}, u32[], token[])"
    text = "HloModule m\n\nENTRY %main () -> f32[] {\n  %z = f32[4]{0} parameter(0)\n"
    text += "  %t = token[] after-all()\n"
    for name, handler in (("other", '_xla_megascale_target="{1,2}"'), ("host", "")):
        text += f"  %{name} = {shape} send(%z, %t), channel_id=2, is_host_transfer=true, "
        text += f"frontend_attributes={{{handler}}}\n"
    module = hlo.parse(text + "}\n")
    (one,) = collectives.find(
        module, hlo.executions(module), mesh_shape=MESH, slice_of=[0] * 4 + [1] * 4
    )
    assert (one.kind, one.name, one.wire()) == ("send", "other", (0.0, 16.0))


def test_groups_of_one_device_move_nothing():
    assert find("  %p = f32[8]{0} parameter(0)\n  %r = f32[8]{0} all-reduce(%p), "
                "replica_groups=[8,1]<=[8], to_apply=%add") == []  # fmt: skip


# The structure of the two published networks at a size that compiles in seconds. "grouped_conv" is
# the positional convolution of accelerators; the CPU's Toeplitz form reduces its wider matrix.
SIZES = dict(
    conv_layers=((16, 4, 4), (16, 3, 2), (16, 2, 2)), d_model=32, num_layers=2, num_heads=4,
    ffn_dim=64, position_kernel=8, position_groups=4, entries=16, code_dim=16, final_dim=16,
)  # fmt: skip
EXECUTION = dict(scan_layers=True, remat="dots", position_formulation="grouped_conv")
NETWORKS = {
    "base": dict(family="base", **SIZES),
    "large_lv60k": dict(family="large_lv60k", **SIZES),
}
MESHES = {
    "data": dict(data=8), "fsdp": dict(data=1, fsdp=8), "tensor": dict(data=4, tensor=2),
}  # fmt: skip


def moved(network: str, mesh: dict[str, int], accumulate: int = 1):
    """(outcome, collectives) of the compiled step of a network on a mesh of 8 devices."""
    raw = dict(
        model=NETWORKS[network],
        execution=EXECUTION,
        objective=dict(name="contrastive", diversity_group_seconds=0.4, num_negatives=5),
        schedule=dict(name="constant", peak=1e-3),
        data=dict(train="none", mode="crop", bucket_seconds=(0.2,),
                  batch_seconds=3.2 * accumulate, row_multiple=16 * accumulate),
        train=dict(steps=10, accumulate=accumulate),
        mesh=mesh,
    )  # fmt: skip
    built = experiment.build(read_settings(raw), devices=jax.devices()[:8])
    outcome = step.compile_step(built, None)
    module = hlo.parse(outcome.compiled.as_text())
    found = collectives.find(
        module, hlo.executions(module), mesh_shape=dict(built.mesh.shape), slice_of=[0] * 8
    )
    return outcome, found


def check_no_surprise(outcome, found):
    """Gradients are summed once; what else moves is parameters (fsdp) or a block's output."""
    expected = report.gradient_bytes(outcome)
    assert collectives.reduced(found, ("data", "fsdp")) == pytest.approx(expected, rel=0.05), (
        collectives.table(found)
    )
    check_no_activation_moves_without_need(outcome, found)


def check_no_activation_moves_without_need(outcome, found):
    built, accumulate = outcome.built, outcome.shape.accumulate
    fsdp, tensor = (built.mesh.shape[axis] > 1 for axis in ("fsdp", "tensor"))
    sums = [c for c in found if c.kind in ("all-reduce", "reduce-scatter")]
    other = [c for c in found if c not in sums]
    weights = 4 * report.parameter_count(outcome)
    rows = outcome.shape.rows // partition.rows_axis(built.mesh)  # of all microbatches
    frames = math.ceil(outcome.shape.samples / built.model.stride)
    latents = 4 * rows * frames * built.model.conv_dim
    outputs = 4 * rows * frames * built.model.d_model
    limit = fsdp * 2.2 * weights * accumulate + tensor * latents
    assert sum(c.total for c in other) <= limit, collectives.table(other)
    inside = sum(c.total for c in sums if c.axes == ("tensor",))
    assert inside <= tensor * 4 * built.model.num_layers * outputs * 1.05


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("network", NETWORKS)
def test_only_gradients_weights_and_block_outputs_move(network, mesh):
    check_no_surprise(*moved(network, MESHES[mesh]))


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [*MESHES.values(), dict(data=2, fsdp=2, tensor=2)], ids=str)
def test_microbatches_are_added_up_before_their_gradients_cross_the_data_axis(mesh):
    outcome, found = moved("base", mesh, accumulate=4)
    assert outcome.shape.accumulate == 4
    once = report.gradient_bytes(outcome, ("fsdp", "tensor")) if mesh["data"] > 1 else 0
    assert collectives.reduced(found, ("data",)) == pytest.approx(once, rel=0.05)
    each = 4 * report.gradient_bytes(outcome) if "fsdp" in mesh else 0
    assert collectives.reduced(found, ("fsdp",)) == pytest.approx(each, rel=0.05)
    check_no_activation_moves_without_need(outcome, found)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_formulations_for_tpu_move_no_more(network, mesh, monkeypatch):
    for module in (attention, mixed_precision, contrastive, feature_extractor, position, wav2vec2):
        monkeypatch.setattr(module, "platform", lambda: "tpu")
    monkeypatch.setitem(EXECUTION, "position_formulation", "paired_groups_conv")
    check_no_surprise(*moved(network, MESHES[mesh]))
