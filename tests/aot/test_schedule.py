"""The estimate of a step from libtpu's schedules: parts, limiting units, what is written."""

import re

import pytest

from w2v2_jax.aot import hlo, render, schedule
from w2v2_jax.aot.bundles import Schedule
from w2v2_jax.aot.chips import Chip
from w2v2_jax.aot.cycles import Cost
from w2v2_jax.errors import InputError

CHIP = Chip("TPU", 1, 1e9, 1e9, 100.0, 1.0, 1.0, 10.0)  # 10 cycles and 100 bytes a second


def cost(name, *, times=1, cycles=None, flops=0.0, moved=0.0, scope="part"):
    return Cost(name, scope, times, cycles, flops, moved)


def test_no_operation_is_faster_than_the_peak_of_the_chip():
    programs = {"a": Schedule(20, {"MXU": 0.9}, 0)}
    result = schedule.estimate([cost("a", flops=3e9, moved=200.0)], programs, CHIP)
    assert (result.seconds, result.memory, result.top[0]["unit"]) == (3.0, 0.0, "peak")


def test_an_operation_takes_the_longer_of_its_schedule_and_its_bytes():
    programs = {"a": Schedule(20, {"MXU": 0.9}, 1)}
    operations = [
        cost("a", times=3, cycles=90, moved=100.0),  # 6 s of schedule, 1 s of bytes
        cost("a", cycles=30, moved=300.0, scope="conv_3/dot"),  # 2 s and 3 s
        cost("b", cycles=7, moved=50.0),  # without a schedule: 0.5 s
    ]
    result = schedule.estimate(operations, programs, CHIP)
    assert (result.seconds, result.memory, result.without) == (9.5, 3.5, 1)
    assert [row["unit"] for row in result.top] == ["MXU", "HBM", "HBM"]
    assert [row["busy"] for row in result.top] == [0.9, None, None]
    assert [row["xla"] for row in result.top] == [9.0, 3.0, 0.7]
    assert result.parts["feature encoder"] == {"seconds": 3.0, "xla": 3.0}
    assert result.parts["rest"] == pytest.approx({"seconds": 6.5, "xla": 9.7})
    lines = render._schedule_lines({"schedule": {**result._asdict(), "mfu": 0.25}})
    assert "9500.0 ms" in lines[0] and "MFU 25.0%" in lines[0]
    assert "1 operations without a schedule" in lines[1]
    assert render._schedule_lines({}) == []


@pytest.mark.parametrize(
    ("scope", "part"),
    [
        ("TransformerLayer/attention/bhqs,bhks->bhqk/dot_general (backward)", "attention"),
        ("transformer/TransformerLayer/attention_norm/div", "rest"),
        ("TransformerLayer/feed_forward_out/abi,io->abo/dot_general", "feed-forward"),
        ("conv_0/conv_0.pieced_group_norm/tkn,ko->nto/dot_general", "feature encoder"),
        ("encoder/transformer/position/conv_general_dilated", "position"),
        ("Wav2Vec2ForPretraining.quantize/quantizer/logits/reduce_sum", "quantizer"),
    ],
)
def test_operations_belong_to_the_part_of_the_network_that_their_scope_names(scope, part):
    assert schedule.part(scope) == part


FUSION = """HloModule m

%body.1 (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %n.1 = f32[8]{0} negate(%p)
}

%body.2 (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  ROOT %n.2 = f32[8]{0} negate(%q)
}

%body.3 (r: f32[8]) -> f32[8] {
  %r = f32[8]{0} parameter(0)
  ROOT %e.3 = f32[8]{0} exponential(%r)
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %one = f32[8]{0} fusion(%a), kind=kLoop, calls=%body.1, backend_config={"window_config":{"x":1}}
  %two = f32[8]{0} fusion(%one), kind=kLoop, calls=%body.2, backend_config={"window_config":{"x":1}}
  %else = f32[8]{0} fusion(%two), kind=kLoop, calls=%body.3, backend_config={"window_config":{"x":1}}
  ROOT %wide = f32[8]{0} fusion(%else), kind=kLoop, calls=%body.2, backend_config={"window_config":{"x":2}}
}
"""  # noqa: E501


def test_operations_that_differ_by_name_alone_share_a_schedule():
    program = Schedule(20, {"MXU": 0.9}, 0)
    assert schedule.with_twins(hlo.parse(FUSION), {"one": program, "body": program}) == {
        "one": program, "two": program, "body": program,
    }  # fmt: skip


def test_kernels_of_the_same_arrays_share_no_schedule():
    call = '%{} = f32[8]{{0}} custom-call(%a), custom_call_target="tpu_custom_call", code={}'
    text = "HloModule m\n\nENTRY %main (a: f32[8]) -> f32[8] {\n  %a = f32[8]{0} parameter(0)\n"
    text += f"  {call.format('one', 1)}\n  ROOT {call.format('two', 2)}\n}}\n"
    program = Schedule(20, {"MXU": 0.9}, 0)
    assert set(schedule.with_twins(hlo.parse(text), {"one": program})) == {"one"}


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    assert schedule.empty_folder(tmp_path / "new").is_dir()
    (tmp_path / "new" / "old.txt").touch()
    with pytest.raises(InputError, match=r"--schedules .* is not empty"):
        schedule.empty_folder(tmp_path / "new")


def test_the_flags_join_those_that_libtpu_has_already(tmp_path, monkeypatch):
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--mine")
    schedule.request(tmp_path)
    flags = schedule.os.environ["LIBTPU_INIT_ARGS"].split(" ")
    assert flags[:2] == ["--mine", f"--xla_jf_dump_to={tmp_path}"]
    passes = re.compile(flags[-1].removeprefix("--xla_jf_dump_llo_pass_label_regex="))
    assert passes.search("final_bundles") and not passes.search("pre-delay_bundles")
