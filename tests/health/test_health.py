"""Every health rule fires on what it is for and is silent over the reference runs."""

import json
import math
import re

import numpy as np
import pytest

from tests.helpers.places import GOLDEN, ROOT
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation import reference_curves
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.health import monitor as monitors
from w2v2_jax.health.bad_batches import BadBatches, note_damage
from w2v2_jax.health.config import HealthConfig, describe
from w2v2_jax.health.monitor import Monitor, StepFlags, check_names
from w2v2_jax.health.rules import RULES
from w2v2_jax.metrics import Mean
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.ema_teacher import EMATeacher
from w2v2_jax.train.step_metrics import Dispatched, StepObserver

# The quickstart's: 1600 updates, 640 codes, spans of 5 from a tenth of the frames.
QUICKSTART = ModelConfig(mask_start_prob=0.1, mask_length=5)
PRETRAIN = describe(Contrastive(QUICKSTART, diversity_group_seconds=0.1), steps=1600)
REGRESSION = describe(EMATeacher(QUICKSTART), steps=1600)
TUNE = describe(CTC(QUICKSTART, num_classes=32), steps=1600)
WELL = {
    "contrastive_loss": 3.9, "contrastive_accuracy": 0.12, "negative_is_positive": 0.005,
    "code_perplexity": 200.0, "prob_perplexity": 250.0, "masked_fraction": 0.41, "mean_span": 6.9,
    "gradient_norm": 1.0, "feature_gradient_norm": 0.4, "data_wait": 0.01, "weight": 490.0,
}  # fmt: skip
WELL_CTC = {
    "loss_per_label": 2.0, "blank_rate": 0.8, "unalignable": 0.0, "gradient_norm": 100.0,
    "feature_gradient_norm": 50.0, "data_wait": 0.01, "weight": 4.0, "masked_fraction": 0.6,
}  # fmt: skip
WELL_REGRESSION = {
    "loss": 8.0, "target_deviation": 0.35, "prediction_deviation": 0.2, "masked_fraction": 0.41,
    "mean_span": 6.9, "gradient_norm": 1.0, "feature_gradient_norm": 0.4, "data_wait": 0.01,
    "weight": 490.0,
}  # fmt: skip
WELL_OF = {id(PRETRAIN): WELL, id(REGRESSION): WELL_REGRESSION, id(TUNE): WELL_CTC}
TIED = {k: v for k, v in WELL.items() if k != "contrastive_accuracy"}

LOGGED = [
    ("chance-loss", PRETRAIN, {"contrastive_loss": math.log(101) - 0.03}, "is chance (ln 101"),
    ("degenerate-accuracy", PRETRAIN, {"contrastive_accuracy": 0.0}, "exactly 0"),
    ("degenerate-accuracy", PRETRAIN, {"contrastive_accuracy": 1.0}, "exactly 1"),
    ("degenerate-accuracy", PRETRAIN, {"contrastive_accuracy": None}, "undefined: all"),
    ("equal-negatives", PRETRAIN, {"negative_is_positive": 0.087}, "8.7% of the negatives"),
    ("collapsed-codes", PRETRAIN, {"code_perplexity": 2.0}, "code perplexity 2.0 of 640"),
    ("collapsed-codes", PRETRAIN, {"prob_perplexity": 30.0}, "prob perplexity 30.0 of 640"),
    ("uniform-codes", PRETRAIN, {"prob_perplexity": 630.0}, "all codes are equally likely"),
    (
        "collapsed-targets",
        REGRESSION,
        {"target_deviation": 0.09},
        "targets within a row is 0.09",
    ),
    ("collapsed-predictions", REGRESSION, {"prediction_deviation": 0.009}, "predictions within a"),
    ("masked-share", PRETRAIN, {"masked_fraction": 0.05}, "5.0% of the frames are masked, 41.0%"),
    ("mean-span", PRETRAIN, {"mean_span": 1.2}, "1.2 frames long, 6.9 expected"),
    ("encoder-gradient", PRETRAIN, {"feature_gradient_norm": 0.0}, "gradient norm is 0 of 1"),
    ("encoder-gradient", TUNE, {"feature_gradient_norm": 100.0}, "gradient norm is 1e+02 of 1e+02"),
    ("all-blank", TUNE, {"blank_rate": 0.999}, "99.9% of the frames are blank"),
    ("unalignable", TUNE, {"unalignable": 0.25}, "25.0% of the transcripts do not fit"),
    ("data-wait", TUNE, {"data_wait": 0.2}, "20.0% of the time is spent waiting"),
]


def fed(run, records, config=None):
    """The alarms of records logged every 16 updates from 800 on."""
    monitor = Monitor(config or HealthConfig(), run)
    alarms = []
    for k, record in enumerate(records):
        present = {name: value for name, value in record.items() if value is not None}
        alarms += monitor.saw_record(800 + 16 * k, present)
    return alarms


def flags(loss=3.0, gradient=1.0, bad=0.0, damaged=0.0, rows=8.0):
    return StepFlags((loss, 1.0), (gradient, 1.0), (bad, 1.0), (damaged, rows))


def stepped(run, steps, config=None):
    """The alarms of a run of updates."""
    monitor = Monitor(config or HealthConfig(), run)
    return [alarm for k, step in enumerate(steps, 1) for alarm in monitor.saw_step(k, step)]


@pytest.mark.parametrize(("rule", "run", "sick", "words"), LOGGED)
def test_a_rule_of_logged_records_speaks_once_of_its_own_symptom(rule, run, sick, words):
    well = WELL_OF[id(run)]
    assert fed(run, [well] * 10) == []
    alarms = fed(run, [{**well, **sick}] * 10)
    assert [alarm.rule for alarm in alarms] == [rule] and alarms[0].action == "warn"
    assert words in alarms[0].line() and f"docs/symptoms.md#{rule}]" in alarms[0].line()


def test_records_that_are_not_finite_are_left_to_the_rule_of_every_update():
    for well, run in ((WELL, PRETRAIN), (WELL_CTC, TUNE)):
        sick = {name: math.nan for name in well if name not in ("data_wait", "weight")}
        assert fed(run, [{**well, **sick}] * 10) == []


@pytest.mark.parametrize(
    ("rule", "sick"),
    [
        ("loss-spike", flags(loss=3.6)),
        ("gradient-spike", flags(gradient=25.0)),
        ("non-finite", flags(loss=math.nan, gradient=math.inf, bad=1.0)),
        ("damaged-audio", flags(damaged=1.0)),
    ],
)
def test_a_rule_of_every_update_speaks_of_the_update_itself(rule, sick):
    noisy = [flags(loss=3 + 0.02 * (k % 5), gradient=1 + 0.1 * (k % 3)) for k in range(120)]
    assert stepped(PRETRAIN, noisy) == []
    alarms = stepped(PRETRAIN, [*noisy, sick, *noisy])
    assert [(alarm.rule, alarm.step) for alarm in alarms] == [(rule, 121)]


def test_every_rule_has_a_test_and_a_heading_on_the_page():
    tested = {rule for rule, *_ in LOGGED}
    tested |= {"loss-spike", "gradient-spike", "non-finite", "damaged-audio"}
    page = (ROOT / "docs" / "symptoms.md").read_text()
    assert tested == {rule.name for rule in RULES}
    for rule in RULES:
        assert f"\n## {rule.name}\n" in page, rule.name


@pytest.mark.parametrize("name", [name for name in reference_curves.RECIPES if name != "base"])
@pytest.mark.parametrize("seed", range(3))
def test_all_rules_are_silent_over_the_reference_runs(name, seed):
    train = reference_curves.load(name).splits["train"]
    monitor = Monitor(HealthConfig(cooldown=0), PRETRAIN if "pretrain" in name else TUNE)
    alarms = []
    for k, step in enumerate(train["step"]):
        row = {n: v[seed, k] for n, v in train.items() if n != "step" and np.isfinite(v[seed, k])}
        loss = row.get("contrastive_loss", row.get("loss_per_label"))
        alarms += monitor.saw_step(int(step), flags(loss, row["gradient_norm"]))
        alarms += monitor.saw_record(int(step), row)
    assert len(train["step"]) >= 40 and alarms == []


@pytest.mark.parametrize(("kind", "run"), [("pretrain", PRETRAIN), ("finetune", TUNE)])
def test_rules_of_every_update_are_silent_over_the_first_updates_of_healthy_runs(kind, run):
    stored = np.load(GOLDEN / "updates.npz")
    losses, gradients = stored[f"{kind}/loss"], stored[f"{kind}/gradient_norm"]
    steps = [flags(loss, norm) for loss, norm in zip(losses, gradients, strict=True)]
    assert len(steps) > 130 and stepped(run, steps) == []
    share = stored[f"{kind}/feature_gradient_norm"] / gradients
    assert share.min() > 0.05 and share.max() < 0.95


def test_still_targets_are_no_alarm_before_5000_updates_of_a_long_run(quiet):
    long = describe(EMATeacher(quiet, top_layers=2), steps=400_000)
    monitor = Monitor(HealthConfig(), long)
    still = {**WELL_REGRESSION, "target_deviation": 0.01, "masked_fraction": 0.489}
    del still["mean_span"]
    assert [a for k in range(4900, 5001, 50) for a in monitor.saw_record(k, still)] == []
    assert [a.rule for a in monitor.saw_record(5001, still)] == ["collapsed-targets"]


def test_chance_is_no_alarm_before_two_fifths_of_a_run_or_the_warm_up_of_base(quiet):
    stuck = {**WELL, "contrastive_loss": 4.615}
    early = Monitor(HealthConfig(), PRETRAIN)
    assert [a for k in range(1, 640, 16) for a in early.saw_record(k, stuck)] == []
    assert [a.rule for a in early.saw_record(641, stuck)] == ["chance-loss"]
    pretraining = Contrastive(quiet, diversity_group_seconds=0.1)
    assert describe(pretraining, steps=400_000).started_after == 32_000
    assert describe(pretraining, steps=400_000, started_after=7).started_after == 7
    assert describe(CTC(quiet, 5, freeze_updates=10_000), steps=13_000).started_after == 15_200


def test_bounds_follow_from_the_model(tiny):
    run = describe(Contrastive(tiny, diversity_group_seconds=0.1), steps=100)
    assert (run.expected.codes, run.expected.negatives) == (16, 100)
    assert run.expected.masked == pytest.approx(0.489, abs=1e-3)  # as the paper prints
    assert run.expected.span == pytest.approx(14.7, abs=0.1)


def test_a_rule_is_silent_for_the_cooldown_and_speaks_again():
    alarms = fed(PRETRAIN, [{**WELL, "code_perplexity": 2.0}] * 20, HealthConfig(cooldown=160))
    assert [alarm.step for alarm in alarms] == [832, 992]


def test_off_silences_and_stop_and_rollback_become_the_action():
    spike = [flags()] * 60 + [flags(gradient=99.0)]
    for action in ("stop", "rollback"):
        alarms = stepped(TUNE, spike, HealthConfig(**{action: "gradient-spike"}))
        assert [alarm.action for alarm in alarms] == [action]
    assert stepped(TUNE, spike, HealthConfig(off=("gradient-spike",))) == []


def test_more_non_finite_updates_than_the_limit_end_the_run():
    sick = flags(loss=math.nan, bad=1.0)
    alarms = stepped(TUNE, [flags(), *[sick] * 3], HealthConfig(non_finite_limit=2))
    assert [(a.step, a.action) for a in alarms] == [(2, "warn"), (4, "stop")]
    assert "health.non_finite_limit=2" in alarms[-1].message


def test_more_damaged_rows_than_the_limit_end_the_run():
    alarms = stepped(TUNE, [flags(damaged=4.0)] * 3)
    assert [(a.step, a.action) for a in alarms] == [(1, "warn"), (3, "stop")]


def test_rows_that_only_fill_a_batch_are_no_damage(tmp_path):
    observer = StepObserver(
        Monitor(HealthConfig(), TUNE), BadBatches(tmp_path, lambda _: [], writes=False), None, []
    )
    one = Mean(np.float32(1), np.float32(1))
    metrics = {
        "loss_per_label": one,
        "gradient_norm": one,
        "non_finite": Mean(np.float32(0), one[1]),
        "skipped": Mean(np.float32(0), one[1]),
    }
    for step in range(1, 5):
        metrics["empty_rows"] = Mean(np.float32(6), np.float32(8))
        assert observer.observe(Dispatched(step, metrics, fillers=6)) is None
    with pytest.raises(monitors.HealthError, match=r"step 9: 13\.9% of the rows"):
        for step in range(5, 20):
            observer.observe(Dispatched(step, metrics, fillers=4))


def test_batches_left_out_on_purpose_are_no_symptom():
    monitor = Monitor(HealthConfig(non_finite_limit=0), TUNE)
    sick = flags(loss=math.nan, bad=1.0, damaged=8.0)
    assert monitor.saw_step(1, sick, left_out=True) == []


def test_rollbacks_beyond_the_limit_end_the_run():
    alarm = monitors.Alarm("loss-spike", 7, "loss 9", "rollback")
    monitor = Monitor(HealthConfig(rollback_limit=1), TUNE)
    monitor.went_back(alarm)
    with pytest.raises(monitors.HealthError, match=r"rollback 2, health\.rollback_limit=1"):
        monitor.went_back(alarm)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stop": ("no-such",)}, "'no-such' is no rule"),
        ({"stop": ("data-wait",)}, "data-wait differs from host to host"),
        ({"rollback": ("chance-loss",)}, "does not help with chance-loss"),
    ],
)
def test_a_rule_that_cannot_do_that_is_named(values, message):
    with pytest.raises(InputError, match=message):
        check_names(HealthConfig(**values))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("cooldwn=3", "config.health.cooldwn is not a setting; did you mean cooldown? Known: stop"),
        ("cooldown=-3", "config.health.cooldown=-3 must not be negative"),
        ("rollback=all-blank", "config.health.rollback: leaving batches out does not help with"),
    ],
)
def test_a_mistake_in_the_health_section_is_named_with_its_path(option, message):
    raw = load_config(str(ROOT / "experiments" / "quickstart.py:pretrain"))
    raw.setdefault("health", {})
    override(raw, ["--config.health.stop=non-finite"])
    assert read_settings(raw).health.stop == ("non-finite",)
    with pytest.raises(InputError, match=re.escape(message)):
        override(raw, [f"--config.health.{option}"])
        read_settings(raw)


def test_the_newest_values_survive_the_wrap_of_the_buffer():
    recent = monitors._Recent()
    for k in range(monitors.UPDATES * 5):
        recent.append(k)
        last = recent.values[-1]
        assert last == k
    np.testing.assert_array_equal(recent.values, np.arange(4000, 5000))


def test_an_objective_says_which_loss_is_watched():
    names = ("loss", "loss_per_label", "contrastive_loss", "gradient_norm", "non_finite")
    metrics = {name: Mean(float(k), 8.0) for k, name in enumerate((*names, "empty_rows"))}
    assert Monitor(HealthConfig(), TUNE).flags(metrics).loss == (1.0, 8.0)
    assert Monitor(HealthConfig(), PRETRAIN).flags(metrics).loss == (2.0, 8.0)


def test_a_batch_once_left_out_is_so_for_every_later_run_and_its_ids_are_there(tmp_path):
    rows = {3: [[{"id": "a", "start": 0, "samples": 9}]]}
    bad_batches = BadBatches(tmp_path, rows.__getitem__, writes=True)
    bad_batches.note(3, "loss-spike", "loss 9", left_out=True)
    bad_batches.note(3, "loss-spike", "loss 9", left_out=False)
    again = BadBatches(tmp_path, rows.__getitem__, writes=True)
    assert again.left_out == {3}
    (entry,) = map(json.loads, (tmp_path / "bad_batches.jsonl").read_text().splitlines())
    assert entry["rows"] == rows[3] and entry["left_out"]
    (tmp_path / "bad_batches.jsonl").write_text("{")
    with pytest.raises(InputError, match="not a list of bad batches"):
        BadBatches(tmp_path, rows.__getitem__, writes=True)


def test_damaged_utterances_are_listed_once_by_the_host_that_found_them(tmp_path):
    note_damage(tmp_path, 2, [("a", "checksum differs")])
    path = note_damage(tmp_path, 2, [("a", "checksum differs"), ("b", "its shard is cut short")])
    assert path.name == "damaged_audio.2.jsonl"
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b"]
    path.write_text(path.read_text()[:-9])
    with pytest.raises(InputError, match=r"damaged_audio\.2\.jsonl: not a list of damaged audio"):
        note_damage(tmp_path, 2, [("c", "checksum differs")])
