"""A run that averages its parameters, by the train command: what it validates, saves and loads."""

import functools

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import load_file

from tests.helpers.places import ROOT
from tests.helpers.train_runs import FINETUNE, dying, options, records, use_one_device
from w2v2_jax import trees
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.export import command as export
from w2v2_jax.train import command as train
from w2v2_jax.train import loop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("programs", "one_device")]
TAUGHT = f"{ROOT}/experiments/pretrain_ema_teacher.py:smoke"
DECAY = 0.3
EACH = (  # every state is saved, the first one too
    "--config.health.rollback=('loss-spike',)", "--config.train.keep_last=9",
    "--config.train.checkpoint_every=1",
)  # fmt: skip
FREEZE = (
    "--config.optimizer.rate_by_path=[['layers[0:1]/', 0.0], ['feature_extractor|position', 0.0]]"
)


def start(corpus, workdir, *more, recipe=FINETUNE, decay=DECAY):
    average = (f"--config.optimizer.ema_decay={decay}",) if decay else ()
    freeze = (FREEZE,) if recipe == FINETUNE else ()
    train.main(["--config", recipe, *options(corpus, workdir, *EACH, *average, *freeze, *more)])


def params_of(workdir, step=None):
    return checkpoint.load(workdir / "checkpoints" / str(step) if step is not None else workdir)


def training_of(workdir, step):
    """What a step holds for resuming."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(workdir / "checkpoints" / str(step) / "training")


def trained(training):
    """The trained parameters that a step holds; without those that are frozen."""
    (average,) = (part for part in training["opt_state"] if part and "params" in part)
    return average["params"]


def close(a, b):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), a, b)


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def runs(programs, corpus, tmp_path_factory):
    """(recipe, decay) -> the workdir of a run of four updates, and the weights of its validations
    by step."""
    validate = loop.validate

    @functools.cache
    def make(recipe=FINETUNE, decay=DECAY):
        workdir, seen = tmp_path_factory.mktemp("runs") / "run", {}

        def note(experiment, feed, weights, step):
            seen[int(step)] = jax.device_get(weights)
            return validate(experiment, feed, weights, step)

        with pytest.MonkeyPatch.context() as patch:
            use_one_device(patch)
            patch.setattr(loop, "validate", note)
            start(corpus, workdir, recipe=recipe, decay=decay)
        return workdir, seen

    return make


def test_what_is_saved_is_the_average_of_the_trained_parameters_with_the_frozen_ones(runs):
    workdir, _ = runs()
    start = trees.flatten(params_of(workdir, 0).params)
    expected = trees.flatten(trained(training_of(workdir, 0)))
    assert {name.split("/")[1] for name in start.keys() - expected.keys()} >= {"feature_extractor"}
    for n in (1, 2, 3, 4):
        keep, held = min(DECAY, (1 + n) / (10 + n)), trees.flatten(trained(training_of(workdir, n)))
        expected = {name: keep * x + (1 - keep) * held[name] for name, x in expected.items()}
        for name, average in trees.flatten(params_of(workdir, n).params).items():
            learning = expected.get(name, start[name][:0])  # of a stack, its second layer
            frozen = len(start[name]) - len(learning)
            np.testing.assert_array_equal(average[:frozen], start[name][:frozen], err_msg=name)
            np.testing.assert_allclose(average[frozen:], learning, rtol=1e-5, atol=1e-7)
            if "/layers/" in name:
                assert (frozen, len(learning)) == (1, 1)
    assert max(np.abs(x - held[name]).max() for name, x in expected.items()) > 1e-5


def test_training_is_the_same_with_and_without_it(runs):
    (averaged, _), (plain, _) = runs(), runs(decay=0.0)
    for ours, theirs in zip(records(averaged, "train"), records(plain, "train"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert records(averaged, "valid")[-1]["loss"] != records(plain, "valid")[-1]["loss"]


def test_the_average_is_validated_and_ranks_the_checkpoints(runs):
    workdir, seen = runs()
    assert sorted(seen) == [2, 4]
    for step, weights in seen.items():
        same(weights, params_of(workdir, step).params)
    ranks = {row["step"]: row["cer"] for row in records(workdir, "valid")}
    best = min(ranks, key=lambda step: (ranks[step], -step))
    assert checkpoint.find(workdir).name == str(best)


@pytest.mark.parametrize("recipe", [FINETUNE, TAUGHT])
def test_a_run_that_dies_goes_on_to_the_same_state_bit_for_bit(runs, corpus, tmp_path, recipe):
    finished, _ = runs(recipe)
    workdir = tmp_path / "killed"
    with dying(step=3):
        start(corpus, workdir, recipe=recipe)
    assert not (workdir / "checkpoints" / "4").exists()
    start(corpus, workdir, recipe=recipe)
    for split in ("train", "valid"):
        assert records(workdir, split) == records(finished, split)
    same(params_of(workdir, 4).params, params_of(finished, 4).params)
    same(training_of(workdir, 4), training_of(finished, 4))


def test_a_teacher_follows_the_trained_parameters_and_not_their_average(runs):
    workdir, seen = runs(TAUGHT)
    settings = read_settings(load_config(TAUGHT))
    objective = build.build(settings, devices=jax.devices()).objective
    held = [training_of(workdir, step) for step in range(5)]
    for n in (1, 2, 3, 4):
        expected = objective.follow(held[n - 1]["teacher"], trained(held[n]), np.int32(n))
        close(held[n]["teacher"], expected)
    same(seen[4], {**params_of(workdir, 4).params, "teacher": held[4]["teacher"]})


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_another_decay_is_refused_in_a_line(runs, corpus, decay):
    workdir, _ = runs()
    more = (f"--config.optimizer.ema_decay={decay}", "--config.train.steps=9")
    with pytest.raises(InputError, match=rf"ema_decay: 0\.3 there, {decay} now \(another average"):
        start(corpus, workdir, *more, decay=0.0)


def test_a_run_that_starts_from_it_starts_from_the_average(runs, corpus, tmp_path, capsys):
    source, _ = runs()
    more = (f"--config.init_from={source}", "--config.seed=7", "--config.train.steps=1")
    start(corpus, tmp_path / "on", *more)
    assert "average of the parameters (config.optimizer.ema_decay=0.3)" in capsys.readouterr().err
    same(params_of(tmp_path / "on", 0).params, params_of(source).params)
    held = trained(training_of(tmp_path / "on", 0))
    same(held["head"], params_of(source).params["head"])


def test_what_is_exported_is_the_average(runs, tmp_path):
    workdir, _ = runs()
    out = tmp_path / "model.safetensors"
    export.main(["--checkpoint", str(workdir), "--to", "safetensors", "--out", str(out)])
    exported, average = load_file(out), trees.flatten(params_of(workdir).params)
    other = trained(training_of(workdir, checkpoint.find(workdir).name))
    assert exported.keys() == average.keys()
    for name, leaf in average.items():
        np.testing.assert_array_equal(exported[name], leaf, err_msg=name)
    assert np.abs(exported["head/kernel"] - other["head"]["kernel"]).max() > 1e-6
