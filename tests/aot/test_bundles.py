"""The programs of libtpu: how often each bundle runs, and which unit is busiest."""

import pytest

from tests.helpers.places import GOLDEN
from w2v2_jax.aot import bundles

# Of libtpu 0.0.42.1 for v5p: without the instructions that decide no loop.
LLO = GOLDEN / "llo"
TEST = "%p{0} = scmp.ge.s32.totalorder %s{0}_s{1}, {2} /* loop exit test */"
BACK = "%9 = sbr.rel (!%p{}) target = $region{}"
HEAD = "== CAPACTIY:\nMXU, VALU\n 4 2\n== UTILIZATION:\n"
NOTHING = ("", "")


def test_a_stored_pipeline_computes_once_per_window_and_loads_ahead_of_it():
    program = bundles.read_folder(LLO)["convert.170"]
    text = next(LLO.glob("*-final_bundles.txt")).read_text()
    windows, trips = 6 * 6 * 3, 6 * 6 * 3 + 10  # its iteration bounds, and ten stages
    assert f", {trips} /* loop exit test */" in text and text.count("\n") == 177
    loop, computing = 0xA0 + 5 - 0x15, 0x91 - (0x39 + 5)
    expected = 177 - loop + computing * windows + (loop - computing) * trips
    assert program.cycles == expected == 16195
    assert program.unknown_loops == 0 and program.binding == "SALU"
    assert all(0 <= share <= 1 for share in program.slots.values())


def program(*lines):
    """(instructions, comment) -> the text of a program of these bundles; without depth marks, as
    libtpu writes empty bundles and those with a branch alone."""
    return "\n".join(
        f" 0x{i:x}   :  {{ {text} }}" + f" /* {comment} */" * bool(comment)
        for i, (text, comment) in enumerate(lines)
    )


NESTED = program(
    NOTHING, ("", "Start region 1"), ("", "Start region 2"), (TEST.format(2, 7, 5), ""),
    (BACK.format(2, 2), ""), *[NOTHING] * 4, (TEST.format(1, 6, 3), ""), (BACK.format(1, 1), ""),
    *[NOTHING] * 4, (TEST.format(3, 5, 7), "End region 8 :: Start region 3"),
    (BACK.format(3, 3), ""), *[NOTHING] * 5,
)  # fmt: skip


def test_loops_in_loops_multiply_and_a_next_loop_has_its_own_trips():
    weights, unknown = bundles.weights_of(NESTED)
    assert weights == [1, 3, *[15] * 7, *[3] * 6, *[7] * 6, 1] and unknown == 0


def test_a_loop_whose_exit_test_has_a_predicate_of_its_own_has_its_trips():
    guarded = NESTED.replace("totalorder %s2", "totalorder (!%p9), %s2")
    assert guarded != NESTED and bundles.weights_of(guarded) == bundles.weights_of(NESTED)


def test_a_loop_whose_trips_are_no_constant_counts_once_and_is_counted():
    test = "%p1 = scmp.ge.s32.totalorder %s1_s1, %s2_s2"
    text = program(("", "Start region 1"), (test, ""), (BACK.format(1, 1), ""), *[NOTHING] * 4)
    assert bundles.weights_of(text) == ([1] * 7, 1)


@pytest.mark.parametrize(
    ("guard", "runs"),
    [
        ("%p4 = scmp.lt.s32.totalorder %s8_s6, 1", 9),
        ("%p4 = scmp.ge.s32.totalorder %s8_s6, 9", 9),
        ("%p4 = scmp.ge.s32.totalorder (%p7), %s8_s6, 4", 4),
        ("%p2 = scmp.ge.s32.totalorder %s8_s6, 1  ;;  %p3 = scmp.lt.s32.totalorder %s8_s6, 9 } "
         "{ %p4 = pnand %p2, %p3", 8),
        ("%p4 = scmp.ge.s32.totalorder %s8_s5, 9", 10),  # not the loop's index
        ("%p4 = por %p2, %p3", 10),
    ],
)  # fmt: skip
def test_a_region_runs_in_the_trips_that_a_comparison_of_the_index_lets_in(guard, runs):
    skip = "%9 = sbr.rel (%p4) target = $region5"
    text = program(
        ("", "Start region 1"), (guard, ""), (skip, ""), *[NOTHING] * 4, NOTHING, NOTHING,
        (TEST.format(1, 6, 10), "Start/End empty region 5"), (BACK.format(1, 1), ""),
        *[NOTHING] * 4,
    )  # fmt: skip
    assert bundles.weights_of(text) == ([*[10] * 7, runs, runs, *[10] * 6], 0)


@pytest.mark.parametrize(
    ("value", "runs"),
    [
        ("%s2_s2 = sadd.s32 4294967293, %s8_s4", 3),  # the last of 4 windows
        ("%s1_s1 = sadd.s32 4294967293, %s8_s4  ;;  %s3_s3 = sadd.s32 4294967294, %s9_s5 } { "
         "%s2_s2 = sor.u32 %s1_s1, %s3_s3", 1),  # of 4 x 3
        ("%s2_s2 = sadd.s32 4294967291, %s8_s4", 12),  # 6 windows are no bound of this program
        ("%s2_s2 = sadd.s32 4294967293, %s8_s4 /* iteration index, stage = 3 */", 12),
    ],
)  # fmt: skip
def test_what_follows_a_sum_over_windows_runs_in_the_last_window(value, runs):
    text = program(
        ("", "iteration_bounds: (1, 4, 3)"), ("", "Start region 1"), (value, ""),
        ("%p4 = scmp.ne.s32.totalorder %s2_s2, 0", ""),
        ("%9 = sbr.rel (%p4) target = $region5", ""), *[NOTHING] * 4, NOTHING, NOTHING,
        (TEST.format(1, 6, 12), "Start/End empty region 5"), (BACK.format(1, 1), ""),
        *[NOTHING] * 4,
    )  # fmt: skip
    assert bundles.weights_of(text) == ([1, *[12] * 8, runs, runs, *[12] * 6], 0)


def test_the_binding_unit_is_the_one_whose_slots_are_fullest():
    rows = [[0, 0]] * 22
    rows[1], rows[2], rows[3], rows[9] = [1, 0], [4, 0], [1, 1], [0, 2]
    found = bundles.read(NESTED, HEAD + "".join(f"{a} {b}\n" for a, b in rows))
    assert found.cycles == 1 + 3 + 7 * 15 + 6 * 3 + 6 * 7 + 1 and found.binding == "MXU"
    assert found.slots == pytest.approx(
        {"MXU": (3 + 15 * 4 + 15) / 4 / 170, "VALU": (15 + 3 * 2) / 2 / 170}
    )


def test_files_of_two_programs_are_not_taken_for_one():
    with pytest.raises(ValueError, match="22 bundles, but 1 rows"):
        bundles.read(NESTED, HEAD + "0 0\n")
