"""Finding and loading a checkpoint: which step, whether it is whole, and what is refused."""

import fractions
import json

import jax
import numpy as np
import pytest

from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.train_step import TrainState

DESCRIPTION = Description("contrastive", ModelConfig(), None, False)
CLAIMED = 8  # bytes of the parameters


def save(workdir, *, steps=1):
    """Saves step 1, 2, ... without a rank."""
    with checkpoint.manager(workdir, keep_last=steps, keep_best=1) as checkpoints:
        for step in range(1, steps + 1):
            params = {"x": np.full(2, step, np.float32)}
            state = TrainState(np.int32(step), params, {"count": np.int32(step)})
            checkpoint.save(checkpoints, state, DESCRIPTION)
        checkpoints.wait_until_finished()


@pytest.fixture
def step(tmp_path):
    """The directory of a workdir's only step."""
    save(tmp_path)
    return tmp_path / "checkpoints" / "1"


def change_checksum(step, change):
    path = step / "model" / "metadata"
    model = json.loads(path.read_text())
    change(model["checksum"])
    path.write_text(json.dumps(model))


def test_a_step_is_loaded_by_its_own_directory_and_by_its_workdir(step, tmp_path):
    for path in (tmp_path, tmp_path / "checkpoints", step):
        loaded = checkpoint.load(path)
        assert (loaded.path, loaded.description) == (step, DESCRIPTION)
        np.testing.assert_array_equal(loaded.params["x"], np.ones(2, np.float32))


def test_the_newest_of_steps_without_a_rank_is_found(tmp_path):
    save(tmp_path, steps=3)
    assert checkpoint.find(tmp_path).name == "3"


def test_a_folder_without_a_whole_step_holds_no_checkpoint(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match=r"holds no checkpoint .*; give a training workdir"):
        checkpoint.find(tmp_path)


def test_loading_leaves_a_workdir_as_it_was(step, tmp_path):
    before = sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    checkpoint.load(tmp_path)
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))


def test_values_that_differ_from_their_checksum_are_damage(step):
    change_checksum(step, lambda checksum: checksum.update(params=checksum["params"] + 1))
    with pytest.raises(InputError, match="1 is damaged: its values differ from their checksum"):
        checkpoint.load(step)


def test_a_checkpoint_from_before_there_were_checksums_is_loaded(step):
    path = step / "model" / "metadata"
    model = json.loads(path.read_text())
    del model["checksum"]
    path.write_text(json.dumps(model))
    assert checkpoint.load(step).description == DESCRIPTION


def test_a_description_that_is_no_object_is_one_line(step):
    (step / "model" / "metadata").write_text("[]")
    with pytest.raises(InputError, match="checkpoint format None"):
        checkpoint.load(step)


def test_files_that_claim_to_hold_far_more_than_they_do_are_refused(step, monkeypatch):
    held = sum(file.stat().st_size for file in (step / "params").rglob("*") if file.is_file())
    monkeypatch.setattr(checkpoint, "SMALL", CLAIMED - 1)
    monkeypatch.setattr(checkpoint, "MOST_INFLATED", fractions.Fraction(CLAIMED, held))
    assert checkpoint.load(step).description == DESCRIPTION  # as much as is allowed
    monkeypatch.setattr(checkpoint, "MOST_INFLATED", fractions.Fraction(CLAIMED - 1, held))
    with pytest.raises(InputError, match=f"{held} bytes of files claim to hold {CLAIMED}"):
        checkpoint.load(step)
    monkeypatch.setattr(checkpoint, "SMALL", CLAIMED)  # of so little nothing is asked
    assert checkpoint.load(step).description == DESCRIPTION


@pytest.mark.parametrize(("hosts", "closes"), [(1, 1), (2, 0)])
def test_after_an_error_a_lone_host_waits_for_the_save_under_way(
    tmp_path, monkeypatch, hosts, closes
):
    closed = []
    monkeypatch.setattr(checkpoint.Manager, "close", lambda manager: closed.append(manager))
    with (
        pytest.raises(KeyError, match="mine"),
        checkpoint.manager(tmp_path, keep_last=1, keep_best=0),
    ):
        monkeypatch.setattr(jax, "process_count", lambda: hosts)
        raise KeyError("mine")
    assert len(closed) == closes


def test_what_a_killed_save_left_is_cleared_away_and_a_save_is_in_the_background(step, tmp_path):
    remains = step.parent / "2.orbax-checkpoint-tmp"
    (remains / "params").mkdir(parents=True)
    with checkpoint.manager(tmp_path, keep_last=1, keep_best=0) as checkpoints:
        assert checkpoints._options.enable_async_checkpointing
        assert not checkpoints.reached_preemption(1)
        params = {"x": np.zeros(2, np.float32)}
        state = TrainState(np.int32(3), params, {"count": np.int32(3)})
        checkpoint.save(checkpoints, state, DESCRIPTION)
    assert not remains.exists()


@pytest.mark.parametrize("checksum", ["x", [1], 5, {}])
def test_a_checksum_of_another_type_is_damage(step, checksum):
    """It was not compared with anything."""
    path = step / "model" / "metadata"
    path.write_text(json.dumps({**json.loads(path.read_text()), "checksum": checksum}))
    with pytest.raises(InputError, match="is damaged: its values differ from their checksum"):
        checkpoint.load(step)
