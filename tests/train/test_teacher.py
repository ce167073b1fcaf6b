"""A run whose state has a teacher, by the train command: it resumes bitwise and starts others."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import w2v2_jax
from tests.helpers.places import ROOT
from tests.helpers.train_runs import FINETUNE, dying, options, records, use_one_device
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.train import command as train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("programs", "one_device")]
RECIPE = f"{ROOT}/experiments/pretrain_ema_teacher.py:smoke"


def arguments(corpus, workdir, *more):
    return ["--config", RECIPE, *options(corpus, workdir, "--config.train.accumulate=2", *more)]


def teacher_of(workdir, step):
    """The teacher that a step of a run holds."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(workdir / "checkpoints" / str(step) / "training")["teacher"]


def transformer(params):
    whole = params["encoder"]["transformer"]
    return {name: whole[name] for name in ("layers", "norm")}


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def finished(programs, corpus, tmp_path_factory):
    """A run of four updates."""
    workdir = tmp_path_factory.mktemp("runs") / "taught"
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        train.main(arguments(corpus, workdir))
    return workdir


def test_a_run_that_dies_goes_on_to_the_same_losses_and_the_same_teacher_bit_for_bit(
    finished, corpus, tmp_path
):
    workdir = tmp_path / "killed"
    with dying(step=3):
        train.main(arguments(corpus, workdir))
    assert not (workdir / "checkpoints" / "4").exists()
    train.main(arguments(corpus, workdir))
    for split in ("train", "valid"):
        assert records(workdir, split) == records(finished, split)
        assert {"loss", "target_deviation", "prediction_deviation"} <= set(
            records(finished, split)[-1]
        )
    same(teacher_of(workdir, 4), teacher_of(finished, 4))
    params = checkpoint.load(finished / "checkpoints" / "4").params
    apart = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()), teacher_of(finished, 4), transformer(params)
    )
    assert max(jax.tree.leaves(apart)) > 0  # it lags behind


def test_a_run_that_starts_from_another_has_a_teacher_of_its_weights(finished, corpus, tmp_path):
    more = (f"--config.init_from={finished}", "--config.health.rollback=('loss-spike',)")
    more += ("--config.train.keep_last=9",)  # the first, step 0, is there for a rollback
    train.main(arguments(corpus, tmp_path / "on", *more, "--config.seed=7"))
    start = checkpoint.load(finished)
    first = tmp_path / "on" / "checkpoints" / "0"
    same(checkpoint.load(first).params["encoder"], start.params["encoder"])
    same(teacher_of(tmp_path / "on", 0), transformer(start.params))


def test_it_is_fine_tuned_as_any_other_encoder(finished, corpus, tmp_path, capsys):
    more = (f"--config.init_from={finished}", "--config.model.family=inherit")
    more += ("--config.vocabulary.name=from_transcripts", "--config.vocabulary.case=upper")
    more += ("--config.data.normalise=True", "--config.data.bucket_seconds=(2.5,)")
    train.main(["--config", FINETUNE, *options(corpus, tmp_path / "tuned", *more)])
    assert "initialised: head/bias, head/kernel" in capsys.readouterr().err
    assert w2v2_jax.load(tmp_path / "tuned").logits(np.ones(16000, np.float32)).shape[0] == 1
