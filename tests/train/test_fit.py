"""Batches that fit neither the corpus nor the machine are refused at once; what lengths leave out
is said with the option that keeps it."""

import dataclasses
import re
import types

import numpy as np
import pytest

from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.feed import train_feed, valid_feed
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.objectives import ctc
from w2v2_jax.train import fit


def config(short_clips, **changes):
    fields = dict(
        train=f"{short_clips}:train", valid=f"{short_clips}:train", mode="pad",
        bucket_seconds=(1.6,), batch_seconds=12.8, row_multiple=8, min_seconds=0.01,
        verify=False, reader="threads",
    )  # fmt: skip
    return DataConfig(**(fields | changes))


def feeds(short_clips, **changes):
    section = config(short_clips, **changes)
    return train_feed(section, None, seed=1), valid_feed(section, None)


def on(devices, mebibytes, monkeypatch):
    """An experiment on so many devices along the rows, each of so much memory."""
    monkeypatch.setattr(fit, "device_memory", lambda device, sharing: mebibytes << 20)
    mesh = types.SimpleNamespace(
        shape={"data": devices, "fsdp": 1}, devices=np.zeros(devices, object)
    )
    return types.SimpleNamespace(
        mesh=mesh,
        settings=types.SimpleNamespace(seed=1),
        accumulate=1,
        check_shapes=lambda shapes, accumulate, what: None,
    )


CROP = dict(mode="crop", bucket_seconds=(1.0,), min_seconds=0.0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        (CROP, [
            '19 of 30 utterances are left out, shorter than 1 s; --config.data.bucket_seconds="'
            '(0.1, 1)" takes those from 0.1 s on',
        ]),
        (CROP | dict(min_seconds=1.25), [
            'shorter than 1.25 s; --config.data.bucket_seconds="(0.1, 1)" --config.data.min_sec'
            'onds=0.1 takes those from 0.1 s on',
        ]),
        (dict(min_seconds=0.3), ["5 of 30 utterances are left out, shorter than 0.3 s; --config"
                                 ".data.min_seconds=0.1 takes those from 0.1 s on"]),
        (dict(bucket_seconds=(0.5, 1.0)), [
            '10 of 30 utterances are left out, longer than the longest rows, 1 s; --config.data.bu'
            'cket_seconds="(0.5, 1, 2)" takes them',
        ]),
    ],
)  # fmt: skip
def test_what_training_leaves_out_is_told_with_the_option_that_keeps_it(short_clips, changes, told):
    lines = list(fit.left_out(feeds(short_clips, **changes)[0], None))
    assert [line.partition(": ")[0] for line in lines] == ["train"] * len(told)
    assert all(part in line for part, line in zip(told, lines, strict=True))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        (CROP, 'shorter than 1 s; --config.data.valid_bucket_seconds="(0.1, 1)" takes those from'),
        (dict(valid_bucket_seconds=(1.0,)),
         'rows, 1 s; --config.data.valid_bucket_seconds="(1, 2)" takes them'),
    ],
)  # fmt: skip
def test_what_validation_leaves_out_is_told_with_its_own_option(short_clips, changes, option):
    train, valid = feeds(short_clips, **changes)
    (line,) = (x for x in fit.left_out(train, valid) if x.startswith("valid: "))
    assert option in line
    (bounds,) = re.findall(r'valid_bucket_seconds="\((.*)\)"', line)
    seconds = tuple(map(float, bounds.split(", ")))
    assert feeds(short_clips, **changes | {"valid_bucket_seconds": seconds})[1].utterances > (
        valid.utterances
    )


def test_batches_far_beyond_the_corpus_are_refused_with_the_options_that_it_fills(
    short_clips, monkeypatch
):
    changes = dict(mode="crop", bucket_seconds=(0.1,), min_seconds=0.0)
    train, _ = feeds(short_clips, **changes, batch_seconds=1e6)
    message = (
        r"^config.data.batch_seconds=1e\+06 makes updates of 10000000 rows, of which the corpus "
        r"fills 29; --config.data.batch_seconds=(\S+) --config.data.row_multiple=(\d+) leave "
        r"\d of \d+ rows empty$"
    )
    with pytest.raises(InputError, match=message) as refused:
        fit.check_batches(on(1, 1 << 30, monkeypatch), train, None)
    seconds, multiple = re.match(message, str(refused.value)).groups()
    changes |= dict(batch_seconds=float(seconds), row_multiple=int(multiple))
    fit.check_batches(on(1, 1 << 30, monkeypatch), feeds(short_clips, **changes)[0], None)


def test_batches_far_beyond_the_corpus_that_no_smaller_ones_replace_say_so(
    short_clips, monkeypatch
):
    def undivided(shapes, accumulate, what):
        raise InputError("undivided")

    crops = dict(mode="crop", bucket_seconds=(0.1,), min_seconds=0.0)
    train, _ = feeds(short_clips, **crops, batch_seconds=1e6)
    experiment = on(1, 1 << 30, monkeypatch)
    experiment.check_shapes = undivided
    with pytest.raises(
        InputError, match=r"no smaller data\.row_multiple divides over the devices$"
    ):
        fit.check_batches(experiment, train, None)


def test_a_row_multiple_larger_than_the_corpus_is_no_slip(short_clips, monkeypatch):
    train, _ = feeds(short_clips, row_multiple=4096)
    fit.check_batches(on(1, 1 << 20, monkeypatch), train, None)


def test_waveforms_that_no_device_holds_are_refused_before_anything_is_compiled(
    short_clips, monkeypatch
):
    train, valid = feeds(short_clips, valid_batch_seconds=3200.0)  # 2000 rows: 195 MiB
    message = r"config.data.valid_batch_seconds=3200 and data.row_multiple=8 make batches of 2000 r"
    with pytest.raises(InputError, match=message):
        fit.check_batches(on(1, 100, monkeypatch), train, valid)
    fit.check_batches(on(2, 100, monkeypatch), train, valid)


@pytest.mark.parametrize("field", ["batch_seconds", "valid_batch_seconds"])
def test_more_audio_than_any_batch_has_is_no_setting(short_clips, field):
    with pytest.raises(InputError, match=rf"data.{field}=1e\+09 must be at most 1e\+07"):
        config(short_clips, **{field: 1e9})


@pytest.mark.parametrize(("steps", "warned"), [(2000, True), (66, True), (2001, False)])
def test_a_run_that_trains_the_head_alone_is_warned_with_what_trains_the_encoder(steps, warned):
    """The updates of the head alone are a number: a run of few epochs may have no others."""
    frozen = ctc.CTC(ModelConfig(), num_classes=5, freeze_updates=2000)
    told = fit.head_alone(frozen, steps=steps)
    assert (f"--config.objective.freeze_updates={steps // 5} " in told) == warned == bool(told)
    assert fit.head_alone(dataclasses.replace(frozen, freeze_updates=0), steps=steps) == ""
