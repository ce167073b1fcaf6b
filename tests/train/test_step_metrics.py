"""A logged line is the mean of all updates since the one before."""

import io
import math

import pytest

from w2v2_jax.experiment.settings import TrainConfig
from w2v2_jax.metrics import Mean, compute
from w2v2_jax.paths import json_text
from w2v2_jax.train.loop import due
from w2v2_jax.train.metric_writer import MetricWriter, keep_until
from w2v2_jax.train.step_metrics import ThroughputWindow, add_update


def update(loss, *, frames=1.0, skipped=0.0, non_finite=0.0):
    return {
        "loss": Mean(loss, frames),
        "gradient_norm": Mean(loss, 1.0),
        "weight": Mean(frames, 1.0),
        "skipped": Mean(skipped, 1.0),
        "non_finite": Mean(non_finite, 1.0),
        "empty_rows": Mean(0.0, 8.0),
    }


def line(*updates):
    total = {}
    for metrics in updates:
        total = add_update(total, metrics)
    return compute(total)


def test_a_line_weighs_each_update_by_what_it_was_a_mean_over():
    shown = line(update(6.0, frames=2.0), update(2.0, frames=8.0))
    assert shown["loss"] == pytest.approx(8.0 / 10.0)
    assert shown["weight"] == 5.0 and shown["gradient_norm"] == 4.0


def test_an_update_that_was_not_taken_is_counted_and_has_no_loss():
    shown = line(update(6.0), update(math.nan, skipped=1.0, non_finite=1.0), update(0, skipped=1.0))
    assert shown["loss"] == 6.0 and shown["gradient_norm"] == 6.0
    assert shown["skipped"] == pytest.approx(2 / 3)
    assert shown["non_finite"] == pytest.approx(1 / 3)
    assert shown["weight"] == 1.0


def test_a_line_of_updates_that_were_not_taken_has_no_number_that_is_none():
    shown = line(update(math.nan, skipped=1.0, non_finite=1.0))
    assert shown == {"weight": 1.0, "skipped": 1.0, "non_finite": 1.0, "empty_rows": 0.0}


def test_the_loss_scale_is_logged_for_updates_that_overflowed_too():
    scaled = lambda scale, over: {  # noqa: E731
        "loss_scale": Mean(scale, 1.0), "loss_scale_overflow": Mean(over, 1.0)
    }  # fmt: skip
    shown = line(update(6.0) | scaled(128.0, 0.0), update(2.0, skipped=1.0) | scaled(256.0, 1.0))
    assert shown["loss"] == 6.0 and shown["non_finite"] == 0.0
    assert shown["loss_scale"] == 192.0 and shown["loss_scale_overflow"] == 0.5


def test_sums_over_many_updates_lose_no_small_ones():
    assert line(update(1e8), *[update(1.0)] * 1000)["loss"] == (1e8 + 1000) / 1001


CONFIG = TrainConfig(
    steps=20, log_every=4, eval_every=6, checkpoint_every=10, keep_every=5, best_metric="loss"
)


@pytest.mark.parametrize(
    ("step", "options", "expected"),
    [
        (1, {}, ()),
        (4, {}, ("line",)),
        (5, {}, ("checkpoint",)),  # keep_every
        (6, {}, ("validation", "checkpoint")),
        (6, {"validates": False}, ()),
        (10, {}, ("checkpoint",)),
        (7, {"stop": True}, ("line", "checkpoint")),
        (20, {}, ("line", "validation", "checkpoint")),
        (20, {"validates": False}, ("line", "checkpoint")),
    ],
)
def test_what_follows_an_update(step, options, expected):
    found = due(step, CONFIG, **{"validates": True, "stop": False, **options})
    assert tuple(name for name, value in found._asdict().items() if value) == expected


def test_the_time_left_and_the_rate_follow_the_clock_that_a_run_gives(tmp_path):
    now, shown = [100.0], io.StringIO()  # seconds without compilations
    clock = lambda: now[0]  # noqa: E731
    window = ThroughputWindow(clock)
    with MetricWriter(tmp_path, first_step=10, total=20, clock=clock, stream=shown) as writer:
        now[0] += 4.0
        window.add(32.0, waited=1.0)
        writer.write(12, "train", {"loss": 1.0})
    assert "  0:16 left" in shown.getvalue()  # 8 updates of 2 s
    assert window.rates() == {"audio_seconds_per_second": 8.0, "data_wait": 0.25}


def test_a_line_has_the_rate_of_phonemes_once_and_no_second_one_of_the_same(tmp_path):
    shown = io.StringIO()
    with MetricWriter(tmp_path, first_step=0, total=4, stream=shown) as writer:
        writer.write(4, "valid", {"loss": 1.0, "wer": 0.5, "cer": 0.25, "per": 0.5})
        writer.write(4, "valid", {"loss": 1.0, "wer": 0.5, "cer": 0.25})
    of_phonemes, of_words = shown.getvalue().splitlines()
    assert of_phonemes == "valid 4/4  loss 1  cer 0.25  per 0.5"
    assert of_words == "valid 4/4  loss 1  cer 0.25  wer 0.5"


RECORDS = [json_text({"step": step, "split": "train", "loss": 1.0}) for step in (1, 2, 3)]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("\n".join(RECORDS) + '\n{"step": 4, "sp', RECORDS[:2]),  # what a kill leaves
        ("\ufeff" + "\n".join(RECORDS) + "\n", RECORDS[:2]),
    ],
)
def test_a_resumed_run_keeps_the_records_up_to_its_step(tmp_path, capsys, content, kept):
    path = tmp_path / "metrics.jsonl"
    path.write_text(content)
    keep_until(path, 2)
    assert path.read_text().splitlines() == kept
    assert capsys.readouterr().err == "" and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("content", "lost", "kept"),
    [
        ("\n".join(RECORDS).encode("utf-16"), "3 lines", []),
        (f"{RECORDS[0]}\nloss 1.0\n{RECORDS[1]}\n".encode(), "1 line", RECORDS[:2]),
    ],
)
def test_records_that_cannot_be_read_are_counted_and_not_lost(
    tmp_path, capsys, content, lost, kept
):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    keep_until(path, 2)
    assert path.read_text().splitlines() == kept
    assert f"warning: {lost} of {path} cannot be read" in capsys.readouterr().err
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == content
