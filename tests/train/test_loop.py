"""What the loop decides without a device: what follows an update, ranks, and going back."""

import types

import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import TrainConfig
from w2v2_jax.health.monitor import Alarm, HealthError
from w2v2_jax.train import loop

ALARM = Alarm("loss-spike", 10, "a spike", "rollback")


def test_a_metric_that_validation_lacks_is_refused_with_the_known():
    config = TrainConfig(steps=9, best_metric="loss")
    with pytest.raises(
        InputError, match="best_metric='loss' is not a validation metric; known: wer"
    ):
        loop.rank({"wer": 0.5}, config)


@pytest.mark.parametrize(("mode", "rank"), [("min", 0.25), ("max", -0.25)])
def test_the_lower_rank_is_the_better_figure(mode, rank):
    config = TrainConfig(steps=9, best_metric="wer", best_mode=mode)
    assert loop.rank({"wer": 0.25, "cer": 0.5}, config) == rank


def job(monkeypatch, back, *, skip=3):
    """A run that finds its newest checkpoint before the alarm at step `back`; what it noted."""
    noted = []
    monkeypatch.setattr(loop.restore, "forget", lambda checkpoints, wanted, before: back)
    monkeypatch.setattr(loop.restore, "restore", lambda checkpoints, abstract: "saved")
    monkeypatch.setattr(loop, "exchanged", lambda experiment, state: f"{state}, exchanged")
    monkeypatch.setattr(loop.cpu_memory, "owned", lambda state: f"{state}, owned")
    health = types.SimpleNamespace(skip_batches=skip)
    return types.SimpleNamespace(
        monitor=types.SimpleNamespace(went_back=lambda alarm: None),
        checkpoints=None,
        experiment=types.SimpleNamespace(
            settings=types.SimpleNamespace(health=health),
            abstract_state=None,
        ),
        bad_batches=types.SimpleNamespace(
            note=lambda step, rule, message, left_out: noted.append((step, rule, left_out))
        ),
    ), noted


@pytest.mark.parametrize(
    ("back", "left_out"),
    [(7, [8, 9, 10]), (5, [8, 9, 10]), (8, [9, 10]), (9, [10])],  # 8 and 9: no older one is there
)
def test_going_back_leaves_out_the_last_batches_up_to_the_alarm(monkeypatch, back, left_out):
    run, noted = job(monkeypatch, back)
    assert loop._roll_back(run, ALARM) == "saved, exchanged, owned"
    assert noted == [(step, "loss-spike", True) for step in left_out]


def test_without_a_checkpoint_from_before_the_alarm_the_run_ends(monkeypatch):
    run, noted = job(monkeypatch, None)
    with pytest.raises(HealthError, match=r"a spike .*no checkpoint from before it.*keep_last"):
        loop._roll_back(run, ALARM)
    assert noted == []


def test_the_clock_of_a_run_stands_still_while_a_step_is_compiled(monkeypatch):
    now, compiled = [5.0], []
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    clock = loop.clock_of(types.SimpleNamespace(compile_seconds=compiled))
    began = clock()
    now[0] += 60.0
    compiled.append(58.5)
    assert clock() - began == 1.5


@pytest.mark.parametrize("waits", [0.0, 2.0])
def test_a_batch_comes_with_the_seconds_spent_waiting_for_it(monkeypatch, waits):
    now = [5.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def batches():
        for batch in ("first", "second"):
            now[0] += waits
            yield batch

    assert list(loop._timed(batches())) == [("first", waits), ("second", waits)]


def test_an_epoch_s_lines_and_saves_follow_the_configuration():
    config = TrainConfig(
        steps=12, log_every=5, eval_every=0, checkpoint_every=4, keep_every=3, best_metric="loss"
    )
    due = {step: loop.due(step, config, validates=True, stop=False) for step in range(1, 13)}
    assert [step for step, one in due.items() if one.line] == [5, 10, 12]
    assert [step for step, one in due.items() if one.validation] == [12]
    assert [step for step, one in due.items() if one.checkpoint] == [3, 4, 6, 8, 9, 12]
