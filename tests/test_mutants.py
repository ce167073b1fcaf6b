"""The suite of mutants: what it names is there, and what it must kill is among its mutants."""

import pytest

from tests.helpers.mutants import MODULES, chosen, read_reasons, report
from tests.helpers.mutations import file_of, mutants, source
from tests.helpers.places import ROOT


@pytest.mark.parametrize("module", MODULES)
def test_a_module_and_the_tests_that_guard_it_exist(module):
    assert file_of(module).is_file()
    assert [path for path in MODULES[module].split() if not (ROOT / path).exists()] == []


def test_every_survivor_with_a_reason_is_a_mutant_of_today_s_sources():
    reasons = read_reasons()
    modules = {key.partition(": ")[0] for key in reasons}
    known = {mutant.key for module in modules for mutant in mutants(module)}
    assert reasons.keys() - known == set()
    assert [key for key, reason in reasons.items() if len(reason.split()) < 4] == []


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        ("checkpoint.files", "step = min(scored,", "step = max(scored,"),
        ("train.loop", "if config.best_metric not in results", "if config.best_metric in results"),
        ("train.loop", "(1 if config.best_mode == 'min' else -1)", "* 1"),
        ("train.run_record", "CHANGES without Change('config.seed', REFUSED,", ""),
    ],
)
def test_what_must_be_killed_is_generated_and_never_excused(module, before, after):
    texts = [mutant.text for mutant in mutants(module)]
    changed = [text for text in texts if before in text and after in text.rpartition("  ->  ")[2]]
    assert changed
    assert [text for text in changed if f"{module}: {text}" in read_reasons()] == []


def test_a_sample_is_the_same_for_the_same_seed_and_holds_every_smaller_one():
    assert chosen("data.plan", 9, 0) == chosen("data.plan", 9, 0) != chosen("data.plan", 9, 1)
    assert len(chosen("data.plan", 9, 0)) == 9
    assert set(chosen("data.plan", 9, 0)) < set(chosen("data.plan", 12, 0))
    assert chosen("data.plan", 0, 0) == mutants("data.plan")


def test_a_mutant_s_source_differs_from_the_module_s_in_what_it_says():
    (mutant,) = (m for m in mutants("checkpoint.files") if "step = max(scored," in m.text)
    changed = source(mutant)
    assert "step = max(scored," in changed and "step = min(scored," not in changed


@pytest.mark.parametrize(
    ("living", "explained", "status"),
    [(0, 0, 0), (1, 1, 0), (1, 0, 1), (2, 2, 1)],  # of ten; 2 are under the goal
)
def test_the_status_is_1_under_90_percent_and_where_a_survivor_has_no_reason(
    capsys, living, explained, status
):
    picks = chosen("data.plan", 10, 0)
    alive = [mutant.key for mutant in picks[:living]]
    reasons = dict.fromkeys(alive[:explained], "nobody reads it at all")
    assert report({"data.plan": (picks, set(alive))}, reasons) == status
    shown = capsys.readouterr().out
    total = len(mutants("data.plan"))
    row = f"| {total} | 10 | {10 - living} | {explained} | {10 * (10 - living)} % |"
    assert f"| `data.plan` {row}" in shown and f"| `all` {row}" in shown
    assert shown.count("survives without a reason: ") == living - explained
