"""Which checkpoint a run goes on from, with states of two numbers: whole, damaged, or another's."""

import errno
import json
import shutil
import types

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.errors import InputError
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.train import restore
from w2v2_jax.train_step import TrainState

DESCRIPTION = Description("contrastive", ModelConfig(), None, False)


def state(step, width=2):
    params = {"x": np.full(width, step, np.float32)}
    return TrainState(np.int32(step), params, {"count": np.int32(step)})


ABSTRACT = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state(0))


@pytest.fixture
def checkpoints(tmp_path):
    """A manager with steps 1, 2 and 3."""
    with checkpoint.manager(tmp_path, keep_last=9, keep_best=0) as manager:
        for step in (1, 2, 3):
            checkpoint.save(manager, state(step), DESCRIPTION)
        manager.wait_until_finished()
        yield manager


def damage(checkpoints, step):
    shutil.rmtree(checkpoints.directory / str(step) / "params")


def change_model(checkpoints, step, **changes):
    path = checkpoints.directory / str(step) / "model" / "metadata"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_newest_whole_state_is_taken(checkpoints, capsys, tmp_path):
    restored = restore.restore(checkpoints, ABSTRACT)
    assert int(restored.step) == 3 and np.asarray(restored.params["x"]).tolist() == [3, 3]
    assert int(restored.opt_state["count"]) == 3
    assert capsys.readouterr().err == "" and names(tmp_path / restore.DAMAGED) == []


def test_a_teacher_is_saved_and_comes_back_and_only_where_there_is_one(tmp_path):
    taught = state(4)._replace(teacher={"x": np.array([0.1, 0.2], np.float32)})
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), taught)
    with checkpoint.manager(tmp_path, keep_last=9, keep_best=0) as manager:
        checkpoint.save(manager, taught, DESCRIPTION)
        manager.wait_until_finished()
        restored = restore.restore(manager, abstract)
        jax.tree.map(np.testing.assert_array_equal, restored, taught)
        with pytest.raises(InputError, match=r"training differs in .*teacher"):
            restore.restore(manager, ABSTRACT)
        changed = taught._replace(teacher={"x": 2 * taught.teacher["x"]})
        assert not restore._is_whole(changed, checkpoint.sums(taught.params, taught.training))


def test_without_a_checkpoint_there_is_no_state(tmp_path):
    with checkpoint.manager(tmp_path, keep_last=1, keep_best=0) as manager:
        assert restore.restore(manager, ABSTRACT) is None


def test_damaged_ones_are_said_and_moved_aside_and_the_one_before_is_taken(
    checkpoints, capsys, tmp_path
):
    damage(checkpoints, 3)
    change_model(checkpoints, 2, checksum={"params": 1, "training": 2})
    assert int(restore.restore(checkpoints, ABSTRACT).step) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "/3 is damaged (Metadata file" in first and "moved to" in first
    assert "/2 is damaged (its values differ from their checksum)" in second
    assert names(tmp_path / restore.DAMAGED) == ["2", "3"]
    assert sorted(checkpoints.all_steps()) == [1]


def test_a_step_damaged_twice_is_moved_beside_the_first(checkpoints, tmp_path):
    for count in (1, 2, 3):
        damage(checkpoints, 3)
        assert int(restore.restore(checkpoints, ABSTRACT).step) == 2
        assert names(tmp_path / restore.DAMAGED) == ["3", "3.1", "3.2"][:count]
        checkpoint.save(checkpoints, state(3), DESCRIPTION)
        checkpoints.wait_until_finished()


def test_where_all_are_damaged_none_is_moved(checkpoints, tmp_path):
    for step in (1, 2, 3):
        damage(checkpoints, step)
    with pytest.raises(InputError, match=r"/3 is damaged \(Metadata.* and so are all before it"):
        restore.restore(checkpoints, ABSTRACT)
    assert names(tmp_path / restore.DAMAGED) == []


def test_a_description_cut_short_is_damage_told_in_one_short_line(checkpoints, capsys):
    (checkpoints.directory / "3" / "model" / "metadata").write_text("{")
    assert int(restore.restore(checkpoints, ABSTRACT).step) == 2
    line = capsys.readouterr().err
    assert "/3 is damaged (" in line and "damaged ()" not in line and line.count("\n") == 1


def test_a_tree_of_which_nothing_is_told_is_gone(checkpoints, monkeypatch, capsys):
    metadata = ocp.StandardCheckpointHandler.metadata

    def told(self, path):
        if path.parts[-2:] == ("3", "training"):
            return types.SimpleNamespace(tree=None)
        return metadata(self, path)

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "metadata", told)
    assert int(restore.restore(checkpoints, ABSTRACT).step) == 2
    assert "/3 is damaged (training is gone or cut short)" in capsys.readouterr().err


def test_another_format_and_another_network_are_refused_and_not_moved(checkpoints, tmp_path):
    wider = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state(0, width=3))
    with pytest.raises(InputError, match="does not fit this configuration: params differs in"):
        restore.restore(checkpoints, wider)
    change_model(checkpoints, 3, format=99)
    with pytest.raises(InputError, match="checkpoint format 99"):
        restore.restore(checkpoints, ABSTRACT)
    assert names(tmp_path / restore.DAMAGED) == []


def test_a_disk_that_refuses_is_no_damage(checkpoints, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "restore", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        restore.restore(checkpoints, ABSTRACT)
    assert names(tmp_path / restore.DAMAGED) == []


def test_a_state_that_another_host_cannot_read_is_damaged_for_all(checkpoints, monkeypatch, capsys):
    answers = iter([False, True, True])
    monkeypatch.setattr(restore.hosts, "on_all_hosts", lambda fact: next(answers))
    assert int(restore.restore(checkpoints, ABSTRACT).step) == 2
    assert "/3 is damaged (another host could not read it)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "before", "back", "left"),
    [
        (2, 3, 2, [1, 2]),
        (9, 3, 3, [1, 2, 3]),
        (0, 3, 2, [1, 2]),  # none is so old: the newest from before the alarm
        (0, 1, None, [1, 2, 3]),
    ],
)
def test_checkpoints_that_an_alarm_has_part_in_are_forgotten(
    checkpoints, wanted, before, back, left
):
    assert restore.forget(checkpoints, wanted, before) == back
    assert sorted(checkpoints.all_steps()) == left
