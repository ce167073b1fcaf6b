"""The schedules of libtpu: bundles times trips, the limiting unit, the estimate of a step."""

import pytest

from tests.helpers.places import GOLDEN
from w2v2_jax.aot import render, schedule
from w2v2_jax.aot.chips import Chip
from w2v2_jax.aot.cycles import Cost
from w2v2_jax.errors import InputError

# Of libtpu 0.0.42.1 for v5p: its bundles without their instructions, but for the loop's test.
LLO = GOLDEN / "llo"
EXIT = "%p1 = scmp.ge.s32.totalorder %s1, {} /* loop exit test */"
HEAD = "== CAPACTIY:\nMXU, VALU\n 4 2\n== UTILIZATION:\n"


def test_a_stored_program_has_its_bundles_times_the_trips_of_its_loop():
    program = schedule.read_folder(LLO)["convert.169"]
    text = next(LLO.glob("*-final_bundles.txt")).read_text()
    lines = text.splitlines()
    inside = sum(": >" in line for line in lines)
    assert (len(lines), inside) == (129, 117) and text.count("loop exit test") == 1
    assert program.cycles == 129 + (14 - 1) * 117
    assert program.unknown_loops == 0 and program.binding == "VSTORE"
    assert all(0 <= share <= 1 for share in program.slots.values())


def bundles(*lines):
    """(mark, depth, text) -> a program of these bundles."""
    return "\n".join(
        f" 0x{i:x} {mark or '  '}: {'>' * depth} {{ {text} }}"
        for i, (mark, depth, text) in enumerate(lines)
    )


NESTED = bundles(
    ("", 0, ""), ("LB", 1, ""), ("LB", 2, ""), ("", 2, EXIT.format(5)), ("PF", 1, EXIT.format(3)),
    ("LB", 1, EXIT.format(7)), ("", 0, ""),
)  # fmt: skip


def test_loops_in_loops_multiply_and_a_next_loop_has_its_own_trips():
    assert schedule.weights_of(NESTED) == ([1, 3, 15, 15, 3, 7, 1], 0)


def test_a_loop_whose_trips_are_no_constant_counts_once_and_is_counted():
    text = bundles(("LB", 1, ""), ("", 1, "%p = scmp.ge.s32.totalorder %s1, %s2"), ("", 0, ""))
    assert schedule.weights_of(text) == ([1, 1, 1], 1)


def test_the_binding_unit_is_the_one_whose_slots_are_fullest():
    table = HEAD + "".join(f"{row}\n" for row in ("0 0", "1 0", "4 0", "1 1", *["0 0"] * 3))
    program = schedule.read(NESTED, table)
    assert program.cycles == 45 and program.binding == "MXU"
    assert program.slots == pytest.approx({"MXU": (3 + 15 * 4 + 15) / 4 / 45, "VALU": 15 / 2 / 45})


def test_files_of_two_programs_are_not_taken_for_one():
    with pytest.raises(ValueError, match="7 bundles, but 1 rows"):
        schedule.read(NESTED, HEAD + "0 0\n")


CHIP = Chip("TPU", 1, 1e9, 100.0, 1.0, 1.0, 10.0)  # 10 cycles and 100 bytes a second


def cost(name, *, times=1, cycles=None, moved=0.0):
    return Cost(name, "part", times, cycles, 0.0, moved)


def test_an_operation_takes_the_longer_of_its_schedule_and_its_bytes():
    programs = {"a": schedule.Schedule(20, {"MXU": 0.9}, 1)}
    operations = [
        cost("a", times=3, cycles=90, moved=100.0),  # 6 s of schedule, 1 s of bytes
        cost("a", cycles=30, moved=300.0),  # 2 s and 3 s
        cost("b", cycles=7, moved=50.0),  # without a schedule: 0.5 s
    ]
    result = schedule.estimate(operations, programs, CHIP)
    assert (result.seconds, result.memory, result.without) == (9.5, 3.5, 1)
    assert [row["unit"] for row in result.top] == ["MXU", "HBM", "HBM"]
    assert [row["xla"] for row in result.top] == [9.0, 3.0, 0.7]
    lines = render._schedule_lines({"schedule": result._asdict()})
    assert "9500.0 ms" in lines[0] and "1 operations without a schedule" in lines[0]
    assert render._schedule_lines({}) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    assert schedule.empty_folder(tmp_path / "new").is_dir()
    (tmp_path / "new" / "old.txt").touch()
    with pytest.raises(InputError, match=r"--schedules .* is not empty"):
        schedule.empty_folder(tmp_path / "new")


def test_the_flags_join_those_that_libtpu_has_already(tmp_path, monkeypatch):
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--mine")
    schedule.request(tmp_path)
    assert schedule.os.environ["LIBTPU_INIT_ARGS"].startswith(
        f"--mine --xla_jf_dump_to={tmp_path} "
    )
