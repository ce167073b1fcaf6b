"""Averages of checkpoints: the numbers, which steps are taken, and what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import w2v2_jax
from tests.helpers.interop_cases import assert_same, random_checkpoint
from w2v2_jax import trees
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import average
from w2v2_jax.objectives.table import OBJECTIVES
from w2v2_jax.train_step import TrainState


@pytest.fixture(scope="module")
def made(tiny):
    return random_checkpoint(tiny, parts=("encoder",))


@pytest.fixture(scope="module")
def workdir(made, tmp_path_factory):
    """A run whose steps 2, 10 and 4 hold 1, 2 and 6 times the same parameters; 4 is the best."""
    folder = tmp_path_factory.mktemp("run")
    with checkpoint.manager(folder, keep_last=9, keep_best=0) as manager:
        for step, factor, rank in ((2, 1, 3.0), (4, 6, 1.0), (10, 2, 2.0)):
            params = jax.tree.map(lambda x, f=factor: x * np.float32(f), made.params)
            state = TrainState(np.int32(step), params, {"count": np.int32(step)})
            checkpoint.save(manager, state, made.description, rank)
    return folder


def scaled(made, factor):
    return jax.tree.map(lambda x: (x.astype(np.float64) * factor).astype(np.float32), made.params)


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


def test_the_last_steps_of_a_run_are_averaged_to_a_checkpoint_of_its_own(
    workdir, made, tmp_path, capsys
):
    average.main(["--checkpoint", str(workdir), "--last", "2", "--out", f"{tmp_path}/mean"])
    said = capsys.readouterr().out
    assert f"read {workdir}/checkpoints/10" in said and f"read {workdir}/checkpoints/4" in said
    loaded = checkpoint.load(tmp_path / "mean")
    assert loaded.description == made.description
    close(loaded.params, scaled(made, 4))
    assert w2v2_jax.load(tmp_path / "mean").features(np.ones((1, 1000), np.float32)).shape[0] == 1


def test_named_steps_and_a_workdir_s_best_are_averaged(workdir, made):
    steps = average.chosen([f"{workdir}/checkpoints/2", str(workdir)], None)
    assert [step.name for step in steps] == ["2", "4"]
    close(average.mean_of(map(checkpoint.load, steps)).params, scaled(made, 3.5))


def test_a_mean_of_equal_checkpoints_is_that_checkpoint_to_the_bit(made):
    assert_same(average.mean_of([made] * 3).params, made.params)


def test_a_mean_does_not_lose_what_is_small_beside_the_sum(made):
    """In float32 2^24 + 1 is 2^24: half of the last bit of a hundred values would be gone."""
    one = {"a": {"b": np.array([2.0**24], np.float32)}}
    odd = {"a": {"b": np.array([2.0**24 + 2], np.float32)}}
    mean = average.mean_of(made._replace(params=tree) for tree in [one, *[odd] * 99])
    assert mean.params["a"]["b"].dtype == np.float32
    assert mean.params["a"]["b"][0] == np.float32(2.0**24 + 2 * 0.99)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}", "--last", "1"], "--last 1: give one --checkpoint, a workdir, and 2 or more steps"),
        (["{}", "{}", "--last", "2"], "--last 2: give one --checkpoint"),
        (["{}", "--last", "4"], "has 3 steps (10, 4, 2), 4 are asked for"),
        (["{}"], "is one step; give two or more, or --last N"),
        (["{}", "{}/checkpoints/4"], "checkpoints/4 is there twice"),
        (["nowhere", "{}"], "nowhere does not exist"),
    ],
)
def test_a_choice_of_no_average_is_one_line(workdir, tmp_path, capsys, arguments, message):
    named = [argument.replace("{}", str(workdir)) for argument in arguments]
    command = ["--checkpoint", *named, "--out", f"{tmp_path}/mean"]
    assert run_command(average.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (tmp_path / "mean").exists()


def test_checkpoints_of_different_runs_are_refused_by_what_differs(made):
    others = {
        "model": made.description._replace(
            model=dataclasses.replace(made.description.model, num_heads=4)
        ),
        "normalise": made.description._replace(normalise=True),
        "objective": made.description._replace(objective="random_targets"),
    }
    for field, description in others.items():
        with pytest.raises(InputError, match=f"has another {field} than random; average steps of"):
            average.mean_of([made, made._replace(description=description)])


@pytest.mark.parametrize("objective", ["random_targets", "contrastive"])
def test_runs_with_other_random_targets_are_refused_by_their_seeds(tiny, objective, tmp_path):
    parts = OBJECTIVES[objective].parts
    made = random_checkpoint(tiny, parts=parts, objective=objective)
    runs = []
    for name, section in (("a", {"target_seed": 1}), ("b", {"target_seed": 2}), ("c", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"objective": section}))
        runs.append(made._replace(path=tmp_path / name / "checkpoints" / "5"))
    assert_same(average.mean_of([runs[0], runs[0]]).params, made.params)
    if objective == "contrastive":
        assert_same(average.mean_of(runs).params, made.params)
        return
    for other, seed in ((runs[1], 2), (runs[2], 0)):
        with pytest.raises(
            InputError, match=rf"target_seed \({seed}\) than .*a/checkpoints/5 \(1\)"
        ):
            average.mean_of([runs[0], other])


def test_a_value_that_is_not_finite_is_named(made):
    broken = jax.tree.map(np.copy, made.params)
    broken["encoder"]["mask_embedding"][3] = np.nan
    said = "random: 1 of the 16 values of encoder/mask_embedding are NaN or infinite; leave that"
    with pytest.raises(InputError, match=said):
        average.mean_of([made, made._replace(params=broken)])


def test_checkpoints_with_other_leaves_are_refused_by_the_leaf(made):
    flat = trees.flatten(made.params)
    name = sorted(flat)[0]
    fewer = trees.nest({key: leaf for key, leaf in flat.items() if key != name})
    other = trees.nest(flat | {name: np.zeros((*flat[name].shape, 2), np.float32)})
    for params, said in ((fewer, "missing"), (other, "of shape")):
        for pair in ((made, made._replace(params=params)), (made._replace(params=params), made)):
            with pytest.raises(InputError, match=f"{name} is .*average steps of one run") as error:
                average.mean_of(pair)
            assert said in str(error.value)


def test_a_step_under_another_spelling_is_there_twice(workdir):
    step = f"{workdir}/checkpoints/2"
    with pytest.raises(InputError, match="there twice"):
        average.chosen([step, f"{workdir}/checkpoints/../checkpoints/2"], None)


def test_a_folder_of_hugging_face_is_told_with_what_to_do(folder, tmp_path, capsys):
    for options in ([str(folder), str(folder)], [str(folder), "--last", "2"]):
        out = ["--out", str(tmp_path / "out")]
        assert run_command(average.main, ["--checkpoint", *options, *out]) == 2
        assert f"first w2v2 convert --from hf --input {folder} --out" in capsys.readouterr().err
