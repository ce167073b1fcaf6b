"""Compiled text as data: shapes, loops, FLOPs, bytes and cycles, on texts with known answers."""

import types

import jax
import jax.numpy as jnp
import pytest

from w2v2_jax.aot import cycles, hlo, report, work
from w2v2_jax.aot.chips import chip_of

# A loop of 12 trips without the compiler's note, an asynchronous call of unknown cost, and a
# fusion that reads one slice: the forms that libtpu writes.
TPU = """HloModule jit_step, is_scheduled=true, num_partitions=8

%fused.1 (p0: bf16[12,64,64], p1: s32[], p2: bf16[32,64]) -> bf16[32,64] {
  %p0 = bf16[12,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %c0 = s32[] constant(0)
  %slice.1 = bf16[1,64,64]{2,1,0} dynamic-slice(%p0, %p1, %c0, %c0), dynamic_slice_sizes={1,64,64}
  %weights.1 = bf16[64,64]{1,0} bitcast(%slice.1)
  %p2 = bf16[32,64]{1,0:T(8,128)(2,1)} parameter(2)
  ROOT %convolution.1 = bf16[32,64]{1,0} convolution(%p2, %weights.1), dim_labels=bf_io->bf
}

%offloaded (p.1: s32[128]) -> s32[128] {
  %p.1 = s32[128]{0} parameter(0)
  ROOT %sort.1 = s32[128]{0} fusion(%p.1), kind=kCustom, calls=%offloaded.body, backend_config={"window_config":{"estimated_cycles":"9223372036854775807"}}
}

%offloaded.body (p.2: s32[128]) -> s32[128] {
  ROOT %p.2 = s32[128]{0} parameter(0)
}

%body (arg.1: (s32[], bf16[32,64], bf16[12,64,64])) -> (s32[], bf16[32,64], bf16[12,64,64]) {
  %arg.1 = (s32[]{:T(128)}, bf16[32,64]{1,0:T(8,128)(2,1)}, /*index=2*/bf16[12,64,64]{2,1,0}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%arg.1), index=0
  %x.1 = bf16[32,64]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%arg.1), index=1
  %w.1 = bf16[12,64,64]{2,1,0} get-tuple-element(%arg.1), index=2
  %one.1 = s32[] constant(1)
  %next.1 = s32[]{:T(128)} add(%i.1, %one.1)
  %fusion.1 = bf16[32,64]{1,0:T(8,128)(2,1)S(1)} fusion(%w.1, %i.1, %x.1), kind=kOutput, calls=%fused.1, metadata={op_name="jit(step)/jvp(Net)/encoder/while/body/layer/dot_general"}, backend_config={"flag_configs":[],"window_config":{"estimated_cycles":"1000","iteration_bounds":["1"]}}
  ROOT %tuple.1 = (s32[], bf16[32,64]{1,0}, bf16[12,64,64]{2,1,0}) tuple(%next.1, %fusion.1, %w.1)
}

%condition (arg.2: (s32[], bf16[32,64], bf16[12,64,64])) -> pred[] {
  %limit.1 = s32[]{:T(128)} constant(12)
  %arg.2 = (s32[]{:T(128)}, bf16[32,64]{1,0}, bf16[12,64,64]{2,1,0}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%arg.2), index=0
  ROOT %lt.1 = pred[]{:T(512)} compare(%i.2, %limit.1), direction=LT, metadata={op_name="jit(step)/while/cond/lt"}
}

ENTRY %main.1 (w: bf16[12,64,64], x: bf16[32,64], n: s32[128]) -> bf16[32,64] {
  %w = bf16[12,64,64]{2,1,0} parameter(0), sharding={replicated}
  %x = bf16[32,64]{1,0:T(8,128)(2,1)} parameter(1)
  %n = s32[128]{0} parameter(2)
  %zero.1 = s32[] constant(0)
  %start.1 = ((s32[128]{0}), s32[128]{0}, u32[]{:S(8)}) call-start(%n), to_apply=%offloaded
  %done.1 = s32[128]{0} call-done(%start.1)
  %copy.1 = bf16[32,64]{0,1:T(8,128)(2,1)} copy(%x), backend_config={"window_config":{"estimated_cycles":"77"}}
  %init.1 = (s32[], bf16[32,64]{1,0}, bf16[12,64,64]{2,1,0}) tuple(%zero.1, %copy.1, %w)
  %while.1 = (s32[], bf16[32,64]{1,0}, bf16[12,64,64]{2,1,0}) while(%init.1), condition=%condition, body=%body
  ROOT %out.1 = bf16[32,64]{1,0} get-tuple-element(%while.1), index=1
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def tpu():
    module = hlo.parse(TPU)
    return module, hlo.executions(module)


def test_a_layouts_brackets_and_memory_space_are_read():
    shape, other = hlo.arrays_of("(bf16[2,3]{1,0:T(8,128)(2,1)S(1)}, /*index=1*/pred[7]{0})")
    assert (shape.dims, shape.space, shape.bytes) == ((2, 3), 1, 12)
    assert (other.dims, other.space, other.bytes) == ((7,), 0, 7)


def test_a_text_without_entry_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("HloModule nothing\n")


def test_a_loops_trips_follow_from_its_condition_where_the_compiler_gives_none(tpu):
    _, runs = tpu
    assert runs.scheduled["body"] == 12 and runs.fused["fused.1"] == 12
    assert runs.unknown_loops == ()


def test_the_compilers_own_trip_count_wins():
    noted = TPU.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert hlo.executions(hlo.parse(noted)).scheduled["body"] == 5


def test_a_loop_whose_trips_nobody_knows_counts_once_and_is_named():
    other = TPU.replace("direction=LT", "direction=NE")
    runs = hlo.executions(hlo.parse(other))
    assert runs.scheduled["body"] == 1 and runs.unknown_loops == ("while.1",)


def test_cycles_are_multiplied_by_trips_and_the_unknown_is_left_out_and_counted(tpu):
    assert cycles.count(*tpu) == cycles.Cycles(total=12 * 1000 + 77, left_out=1)


def test_flops_and_bytes_of_a_loop_are_multiplied(tpu):
    totals = work.totals(*tpu)
    assert totals.flops == 12 * 2 * 32 * 64 * 64
    layer = 64 * 64 * 2  # one slice of the weights; x and the result stay on the core
    scalar = 3 * 4  # next = i + one
    assert totals.bytes >= 12 * layer + 2 * 32 * 64 * 2
    assert totals.bytes <= 12 * (layer + scalar + 4) + 3 * 32 * 64 * 2 + 2 * 128 * 4


def test_the_dearest_operation_is_named_by_its_place_in_the_network(tpu):
    dearest = max(cycles.costs(*tpu), key=lambda cost: cost.cycles or 0)
    assert (dearest.name, dearest.times, dearest.cycles) == ("fusion.1", 12, 12000)
    assert dearest.part == "Net/encoder/layer/dot_general"


def flops_of(line: str) -> float:
    text = "HloModule m\n\nENTRY %main () -> f32[] {\n" + line + "\n}\n"
    module = hlo.parse(text)
    return work.totals(module, hlo.executions(module)).flops


@pytest.mark.parametrize(
    ("left", "right", "result", "attributes", "expected"),
    [
        # a strided convolution: 4 outputs of 3 taps, 8 -> 16 channels, 2 rows
        ("2,9,8", "3,8,16", "2,4,16", "window={size=3 stride=2}, dim_labels=b0f_0io->b0f",
         2 * 2 * 4 * 3 * 8 * 16),
        # "same" padding: the two outer outputs have two real taps
        ("1,5,1", "3,1,1", "1,5,1", "window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f",
         2 * (3 * 3 + 2 * 2)),
        # TPU's batched matmul: 6 matrices of 4x8 @ 8x5 as one window over a dilated axis
        ("6,4,8", "6,8,5", "6,4,5",
         "window={size=6 stride=5 pad=0_0 lhs_dilate=6}, dim_labels=0bf_0io->0bf",
         2 * 6 * 4 * 8 * 5),
        # two groups: the kernel's input features are a group's
        ("1,4,8", "1,4,6", "1,4,6", "window={size=1}, dim_labels=b0f_0io->b0f, "
         "feature_group_count=2", 2 * 4 * 4 * 6),
    ],
)  # fmt: skip
def test_convolutions_count_taps_on_real_inputs(left, right, result, attributes, expected):
    line = (
        f"  %a = f32[{left}]{{2,1,0}} parameter(0)\n  %b = f32[{right}]{{2,1,0}} parameter(1)\n"
        f"  ROOT %c = f32[{result}]{{2,1,0}} convolution(%a, %b), {attributes}"
    )
    assert flops_of(line) == expected


def test_flops_of_a_compiled_loop_within_a_loop_are_those_of_its_matmuls():
    def inner(x, _):
        return jnp.tanh(x @ x), None

    def outer(x, _):
        return jax.lax.scan(inner, x, None, length=5)[0], None

    def function(x):
        return jax.lax.scan(outer, x, None, length=3)[0]

    compiled = jax.jit(function).lower(jax.ShapeDtypeStruct((24, 24), "float32")).compile()
    module = hlo.parse(compiled.as_text())
    totals = work.totals(module, hlo.executions(module))
    assert totals.flops == 3 * 5 * 2 * 24**3


def test_an_asynchronous_copy_moves_what_lies_in_main_memory_once():
    lines = (
        "  %x = f32[100]{0} parameter(0)\n"
        "  %in = (f32[100]{0:S(1)}, f32[100]{0}, u32[]{:S(2)}) copy-start(%x)\n"
        "  %near = f32[100]{0:S(1)} copy-done(%in)\n"
        "  %out = (f32[100]{0}, f32[100]{0:S(1)}, u32[]{:S(2)}) copy-start(%near)\n"
        "  ROOT %far = f32[100]{0} copy-done(%out)"
    )
    module = hlo.parse("HloModule m\n\nENTRY %main () -> f32[] {\n" + lines + "\n}\n")
    assert work.totals(module, hlo.executions(module)).bytes == 2 * 400


IN_PLACE = """HloModule m

%slice (s: f32[9,100], i: s32[]) -> f32[1,100] {
  %s = f32[9,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %ds = f32[1,100]{1,0} dynamic-slice(%s, %i, %zero), dynamic_slice_sizes={1,100}
}

%body (p: f32[9,100], q: f32[900], j: s32[]) -> (f32[9,100], f32[100]) {
  %p = f32[9,100]{1,0} parameter(0)
  %q = f32[900]{0} parameter(1)
  %j = s32[] parameter(2)
  %null = s32[] constant(0)
  %rows = f32[9,100]{1,0} bitcast(%q)
  %one = f32[1,100]{1,0} fusion(%rows, %j), kind=kLoop, calls=%slice
  %dus = f32[9,100]{1,0} dynamic-update-slice(%p, %one, %j, %null)
  %flat = f32[100]{0} bitcast(%one)
  ROOT %both = (f32[9,100]{1,0}, f32[100]{0}) tuple(%dus, %flat)
}

ENTRY %main (a: f32[9,100], b: f32[900], k: s32[]) -> (f32[9,100], f32[100]) {
  %a = f32[9,100]{1,0} parameter(0)
  %b = f32[900]{0} parameter(1)
  %k = s32[] parameter(2)
  ROOT %f = (f32[9,100]{1,0}, f32[100]{0}) fusion(%a, %b, %k), kind=kLoop, calls=%body
}
"""


def test_a_stack_that_a_fusion_slices_or_updates_in_place_does_not_move_whole():
    module = hlo.parse(IN_PLACE)
    index, read, written = 4, 400, 400 + 400  # one of the nine rows, twice
    assert work.totals(module, hlo.executions(module)).bytes == index + read + written


CUBLAS = """HloModule jit_step, is_scheduled=true

%sliced (p0: bf16[2,32,96], p1: bf16[32,400]) -> (bf16[96,400], s8[33554432]) {
  %p0 = bf16[2,32,96]{2,1,0} parameter(0)
  %slice.1 = bf16[1,32,96]{2,1,0} slice(%p0), slice={[0:1], [0:32], [0:96]}
  %bitcast.1 = bf16[32,96]{1,0} bitcast(%slice.1)
  %p1 = bf16[32,400]{0,1} parameter(1)
  ROOT %custom-call.1 = (bf16[96,400]{1,0}, s8[33554432]{0}) custom-call(%bitcast.1, %p1), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["0"],"rhs_contracting_dimensions":["0"]}}}
}

ENTRY %main (a: bf16[2,32,96], b: bf16[32,400]) -> bf16[8,400] {
  %a = bf16[2,32,96]{2,1,0} parameter(0)
  %b = bf16[32,400]{0,1} parameter(1)
  %fusion.1 = (bf16[96,400]{1,0}, s8[33554432]{0}) fusion(%a, %b), kind=kCustom, calls=%sliced
  %get-tuple-element.1 = bf16[96,400]{1,0} get-tuple-element(%fusion.1), index=0
  ROOT %custom-call.2 = (bf16[8,400]{1,0}, s8[33554432]{0}) custom-call(%c, %get-tuple-element.1), custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
  %c = bf16[8,96]{1,0} parameter(2)
}
"""  # noqa: E501


def test_matmuls_of_cublas_count_without_their_workspace():
    module = hlo.parse(CUBLAS)
    counted = work.totals(module, hlo.executions(module))
    assert counted.flops == 2 * 96 * 400 * 32 + 2 * 8 * 400 * 96
    assert counted.bytes == 2 * (32 * 96 + 32 * 400 + 96 * 400 + 8 * 96 + 96 * 400 + 8 * 400)
    assert counted.library_calls == 0


def test_products_of_float32_take_a_gpu_twice_as_long():
    chip = chip_of("NVIDIA H200")._replace(hbm_rate=1e18)
    seconds = []
    for text in (CUBLAS, CUBLAS.replace("bf16[", "f32[")):
        module = hlo.parse(text)
        operations = cycles.costs(module, hlo.executions(module))
        seconds.append(sum(one.seconds(chip) for one in operations))
    assert seconds[1] / seconds[0] == pytest.approx(chip.flops / chip.flops32)


def test_a_kernel_for_gpus_counts_by_the_flops_that_it_states():
    text = """HloModule m, is_scheduled=true

ENTRY %main (a: bf16[8,64]) -> bf16[8,64] {
  %a = bf16[8,64]{1,0} parameter(0)
  ROOT %k = bf16[8,64]{1,0} custom-call(%a), custom_call_target="__gpu$xla.gpu.triton", backend_config={debug = false, grid_x = 1 : i32, ir = "ML\\EF\\22", name = "forward_kernel", serialized_metadata = "{\\22flops\\22: \\2216777216\\22}"}
}
"""  # noqa: E501
    module = hlo.parse(text)
    (kernel,) = cycles.costs(module, hlo.executions(module))
    assert (kernel.kernel, kernel.flops, kernel.flops32, kernel.bytes) == (True, 2**24, 0, 2048)


def test_a_call_into_another_library_hides_its_work():
    text = CUBLAS.replace("__cublas$gemm", "__cudnn$convForward")
    module = hlo.parse(text)
    assert work.totals(module, hlo.executions(module)).library_calls == 1


def test_a_kernel_counts_by_the_flops_that_it_states_and_its_bytes():
    """As libtpu writes the attention kernel: no cycles, and the program in the text is not read."""
    stated = '"cost_estimate":{"flops":"512000000","transcendentals":"2000000"}'
    text = f"""HloModule jit_step, is_scheduled=true

ENTRY %main (p0: bf16[2,3,4,64,500]) -> bf16[2,4,64,500] {{
  %p0 = bf16[2,3,4,64,500]{{4,3,2,1,0}} parameter(0)
  %sum.1 = bf16[2,3,4,64,500]{{4,3,2,1,0}} add(%p0, %p0), backend_config={{"window_config":{{"estimated_cycles":"5000"}}}}
  ROOT %kernel.1 = bf16[2,4,64,500]{{3,2,1,0}} custom-call(%sum.1), custom_call_target="tpu_custom_call", metadata={{op_name="jit(step)/attention/pallas_call"}}, backend_config={{"custom_call_config":{{"body":"x",{stated}}}}}
}}
"""  # noqa: E501
    module = hlo.parse(text)
    runs = hlo.executions(module)
    operations = cycles.costs(module, runs)
    (kernel,) = [one for one in operations if one.kernel]
    assert (kernel.flops, kernel.cycles) == (512e6, None)
    assert kernel.bytes == 2 * 2 * 4 * 64 * 500 * (3 + 1)
    chip = chip_of("TPU v5")
    outcome = types.SimpleNamespace(compiled=types.SimpleNamespace(cost_analysis=dict))
    result = {"flops": {"compiled": 512e6}, "ici_bytes": 0.0, "dcn_bytes": 0.0}
    time = report.seconds(outcome, result, operations, cycles.count(module, runs), chip)
    bound = max(512e6 / chip.flops, kernel.bytes / chip.hbm_rate)
    assert (time["kernels"], time["kernels_by_roofline"]) == (1, bound)
    assert time["step"] == time["compute"] == pytest.approx(5000 / chip.clock + bound)
