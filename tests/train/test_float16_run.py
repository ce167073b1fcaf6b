"""A run in float16, by the train command: its scale is logged, saved and resumed."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.helpers.train_runs import FINETUNE, dying, options, records, use_one_device
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError
from w2v2_jax.train import command as train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("programs", "one_device")]
EACH = ("--config.train.steps=5", "--config.train.log_every=1", "--config.train.checkpoint_every=1",
        "--config.train.keep_last=9")  # fmt: skip
HALF = ("--config.execution.dtype=float16", "--config.execution.loss_scale_window=2")


def start(corpus, workdir, *more):
    train.main(["--config", FINETUNE, *options(corpus, workdir, *EACH, *more)])


def training_of(workdir, step):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(workdir / "checkpoints" / str(step) / "training")


def scales(workdir):
    return [row["loss_scale"] for row in records(workdir, "train")]


@pytest.fixture(scope="module")
def finished(programs, corpus, pretrained, tmp_path_factory):
    """A run in float16 that starts from a checkpoint of a run in float32."""
    workdir = tmp_path_factory.mktemp("runs") / "half"
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        start(corpus, workdir, *HALF, f"--config.init_from={pretrained}")
    return workdir


def test_the_scale_is_logged_and_saved_with_the_run_alone(finished, pretrained):
    assert scales(finished) == [128, 128, 256, 256, 512]
    lines = records(finished, "train")
    assert all(row["loss_scale_overflow"] == row["non_finite"] == 0 for row in lines)
    saved = training_of(finished, 5)
    assert set(saved) == {"step", "opt_state", "loss_scale"}
    assert set(training_of(pretrained, 6)) == {"step", "opt_state"}


def test_a_run_that_dies_goes_on_to_the_same_state_bit_for_bit(
    finished, pretrained, corpus, tmp_path
):
    workdir, more = tmp_path / "killed", (*HALF, f"--config.init_from={pretrained}")
    with dying(step=4):  # between two changes of the scale
        start(corpus, workdir, *more)
    assert not (workdir / "checkpoints" / "5").exists()
    start(corpus, workdir, *more)
    for split in ("train", "valid"):
        assert records(workdir, split) == records(finished, split)
    one, other = (training_of(folder, 5) for folder in (workdir, finished))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    params = lambda folder: checkpoint.load(folder / "checkpoints" / "5").params  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, params(workdir), params(finished))


def test_overflows_are_logged_and_are_no_bad_batches(corpus, tmp_path):
    workdir = tmp_path / "overflows"
    start(corpus, workdir, *HALF, "--config.execution.loss_scale_start=16777216.0")
    lines = records(workdir, "train")
    assert lines[0]["loss_scale_overflow"] == lines[0]["skipped"] == 1
    assert lines[0]["non_finite"] == 0 and lines[1]["loss_scale"] == 2**23
    assert not (workdir / "bad_batches.jsonl").exists()


def test_what_is_not_finite_at_the_floor_is_a_bad_batch(corpus, tmp_path):
    workdir = tmp_path / "floor"
    floor = ("--config.execution.loss_scale_start=16777216.0",
             "--config.execution.loss_scale_floor=8388608.0")  # fmt: skip
    start(corpus, workdir, *HALF, *floor, "--config.train.steps=1")
    assert records(workdir, "train")[0]["non_finite"] == 1
    assert "non-finite" in (workdir / "bad_batches.jsonl").read_text()


def test_another_dtype_is_refused_when_a_run_resumes(finished, corpus):
    with pytest.raises(InputError, match=r"execution\.dtype: .*float16.* there, .*float32.* now"):
        start(corpus, finished, "--config.train.steps=6", "--config.execution.dtype=float32")
