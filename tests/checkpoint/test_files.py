"""Which checkpoints are kept and which is best, with states of two numbers."""

import json
import math

import numpy as np
import orbax.checkpoint as ocp
import pytest

from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import TrainConfig
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.train import loop
from w2v2_jax.train_step import TrainState

DESCRIPTION = Description("contrastive", ModelConfig(), None, False)


def save(workdir, ranks, **keep):
    """Saves step 1, 2, ... with these ranks; returns the steps that stay."""
    with checkpoint.manager(workdir, **{"keep_last": 1, "keep_best": 1, **keep}) as checkpoints:
        for step, rank in enumerate(ranks, 1):
            params = {"x": np.full(2, step, np.float32)}
            state = TrainState(np.int32(step), params, {"count": np.int32(step)})
            checkpoint.save(checkpoints, state, DESCRIPTION, rank)
        checkpoints.wait_until_finished()
        return sorted(checkpoints.all_steps())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_validation_that_is_no_number_never_displaces_the_best(tmp_path, bad):
    assert save(tmp_path, [1.0, bad, 3.0, 2.5, 2.6]) == [1, 5]
    assert checkpoint.find(tmp_path).name == "1"


def test_the_best_is_the_one_of_lowest_rank_whichever_came_first(tmp_path):
    assert save(tmp_path, [2.0, 1.0, 3.0, 2.5]) == [2, 4]
    assert checkpoint.find(tmp_path).name == "2"


@pytest.mark.parametrize(("mode", "best"), [("min", "3"), ("max", "1")])
def test_best_mode_says_which_end_of_a_figure_is_best(tmp_path, mode, best):
    config = TrainConfig(steps=9, best_metric="figure", best_mode=mode)
    ranks = [loop.rank({"figure": figure}, config) for figure in (0.9, math.nan, 0.1, 0.5)]
    assert save(tmp_path, ranks) == sorted({int(best), 4})
    assert checkpoint.find(tmp_path).name == best


def test_without_a_figure_that_is_a_number_the_newest_is_taken(tmp_path):
    assert save(tmp_path, [math.nan, math.nan, None]) == [3]
    assert checkpoint.find(tmp_path).name == "3"


def test_a_stored_rank_that_is_no_number_is_passed_over(tmp_path):
    save(tmp_path, [2.0, 1.0], keep_last=3)
    (stored,) = (tmp_path / "checkpoints" / "2").glob("metrics/metrics")
    stored.write_text(json.dumps({"rank": math.nan}))
    assert checkpoint.find(tmp_path).name == "1"
    with checkpoint.manager(tmp_path, keep_last=1, keep_best=1) as checkpoints:
        state = TrainState(np.int32(3), {"x": np.zeros(2, np.float32)}, {"count": np.int32(3)})
        checkpoint.save(checkpoints, state, DESCRIPTION, 9.0)
        checkpoints.wait_until_finished()
        assert sorted(checkpoints.all_steps()) == [1, 3]


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"rank": null}', '{"rank": "1"}', "[" * 9999]
)
def test_a_damaged_rank_is_told_and_loses_no_step(tmp_path, capfd, content):
    """Each was a traceback, of training and of everything that loads a checkpoint."""
    save(tmp_path, [1.0, 2.0, 3.0], keep_last=3)
    rank = tmp_path / "checkpoints" / "1" / "metrics"
    (rank / "metrics").write_text(content)
    assert checkpoint.find(tmp_path).name == "2"
    assert checkpoint.load(tmp_path).path.name == "2"
    assert checkpoint.load(tmp_path / "checkpoints" / "1").path.name == "1"
    told = capfd.readouterr().err
    assert told == f"warning: {rank} is damaged: the step counts as not validated\n"
    with pytest.raises(InputError, match=f"{rank} is damaged; put it back from a copy, or remove"):
        save(tmp_path, [1.0, 2.0, 3.0, 4.0], keep_last=1)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"1", "2", "3"}


def test_every_nth_step_is_kept_for_good(tmp_path):
    assert save(tmp_path, [None] * 7, keep_best=0, keep_every=3) == [3, 6, 7]


def test_orbax_asks_nobody_whether_the_run_is_to_stop(tmp_path, monkeypatch):
    """Its steps go back with a rollback; JAX's runtime would lose the notice."""

    def asked(step):
        raise AssertionError(f"asked with step {step}")

    monkeypatch.setattr(ocp.checkpoint_manager.utils, "reached_preemption", asked)
    assert save(tmp_path, [1.0, 2.0]) == [1, 2]


def test_a_workdir_is_described_by_its_newest_checkpoint_that_can_be_read(tmp_path):
    assert checkpoint.describe_newest(tmp_path) is None
    save(tmp_path, [None, None], keep_last=2)
    for step in ("2", "1"):
        assert checkpoint.describe_newest(tmp_path) == DESCRIPTION
        (tmp_path / "checkpoints" / step / "model" / "metadata").write_text("{")
    with pytest.raises(InputError, match=r"2 is damaged \(no description"):
        checkpoint.describe_newest(tmp_path)
