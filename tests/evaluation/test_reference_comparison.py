"""`compare WORKDIR`: a run beside the stored curves."""

import json
import subprocess
import sys

import numpy as np
import pytest

from w2v2_jax import compare
from w2v2_jax.errors import run_command
from w2v2_jax.evaluation import reference_curves
from w2v2_jax.evaluation.reference_comparison import choose, smoothed, stand
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.report import make_curves


def write_run(folder, name, *, seed=0, change=lambda record: record, steps=None):
    """A workdir whose curves are those of a reference's seed."""
    reference = reference_curves.load(name)
    config = {}
    for path, value in reference.config.items():
        config.setdefault(path.split(".")[0], {})[path.split(".")[1]] = value
    if name == "quickstart_finetuned":
        config["init_from"] = "somewhere"
    lines = []
    for split, curves in reference.splits.items():
        for k, step in enumerate(curves["step"]):
            record = {n: v[seed, k] for n, v in curves.items() if n != "step"}
            record = {n: float(v) for n, v in record.items() if np.isfinite(v)}
            lines.append({"step": int(step), "split": split, **change(record)})
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    kept = [json.dumps(line) for line in lines if steps is None or line["step"] <= steps]
    (folder / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    return folder


@pytest.mark.parametrize("name", reference_curves.RECIPES)
def test_a_reference_run_stands_within_the_reference(tmp_path, name):
    standing = stand(write_run(tmp_path / "run", name))
    assert standing.reference.name == name and standing.differs == {}
    assert {row.verdict for row in standing.rows} == {"within"}


def test_better_and_worse_know_the_direction(tmp_path):
    def change(record):
        accuracy, loss = record["contrastive_accuracy"] + 0.3, record["contrastive_loss"] + 1
        return {**record, "contrastive_accuracy": accuracy, "contrastive_loss": loss}

    rows = stand(write_run(tmp_path / "run", "quickstart_pretrain", change=change)).rows
    verdicts = {row.metric: row.verdict for row in rows}
    assert verdicts["contrastive_accuracy"] == "better"
    assert verdicts["contrastive_loss"] == "worse" and verdicts["code_perplexity"] == "within"


@pytest.mark.parametrize("from_step", [0, 800], ids=["from the start", "from the middle on"])
@pytest.mark.parametrize("lost", [None, float("nan")], ids=["null", "NaN"])
def test_a_figure_that_is_no_number_is_neither_within_the_reference_nor_left_out(
    tmp_path, lost, from_step
):
    run = write_run(tmp_path / "run", "quickstart_pretrain")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["step"] >= from_step:
            line |= {name: lost for name in line if name not in ("step", "split")}
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    verdicts = {(row.metric, row.step): row.verdict for row in stand(run).rows}
    assert max(step for _, step in verdicts) == 1600
    for (_, step), verdict in verdicts.items():
        assert (verdict == "not a number") == (step >= from_step)


def test_a_run_half_way_is_compared_as_far_as_it_is(tmp_path):
    rows = stand(write_run(tmp_path / "run", "quickstart_pretrain", steps=800)).rows
    assert max(row.step for row in rows) == 800


def test_a_run_has_no_figure_before_its_first_record(tmp_path):
    """The first record's was shown for every update before it."""
    run = write_run(tmp_path / "run", "quickstart_pretrain")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] >= 1500]
    (run / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    rows = stand(run).rows
    assert rows and min(row.step for row in rows) >= 1500


def test_the_command_prints_a_table_and_writes_a_plot(tmp_path, capsys):
    run = write_run(tmp_path / "run", "quickstart_scratch")
    config = json.loads((run / "config.json").read_text())
    usual = read_settings(load_config("quickstart:finetune")).raw
    sections = [name for name, value in usual.items() if isinstance(value, dict)]
    config = {name: usual[name] | config.get(name, {}) for name in sections}
    config["data"] |= {"batch_seconds": 16.0, "train": "mine:train", "workers": 7}
    config["model"]["dropout"] = 0.3
    config["optimizer"]["clip_norm"] = 1.0
    (run / "config.json").write_text(json.dumps(config))
    compare.main([str(run), "--json", str(tmp_path / "out.json")])
    shown = capsys.readouterr().out
    assert "differs: config.data.batch_seconds is 16.0 here, 8.0 there" in shown
    assert "differs: config.data.train is mine:train here, data/quickstart/corpus:train t" in shown
    assert "differs: config.model.dropout is 0.3 here, 0.1 there" in shown
    assert "differs: config.optimizer.clip_norm is 1.0 here, not set there" in shown
    assert shown.count("differs: ") == 4
    assert "\ncer " in shown and f"wrote {run / 'compare.png'}" in shown
    assert (run / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out.json").read_text())["rows"][0]["verdict"] == "within"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no training workdir"),
        (["."], ". is no training workdir: it has no config.json"),
        (["{run}", "--reference", "large"], "--reference 'large' is not known"),
        (
            ["{run}", "--reference", "base"],
            "its figures are of updates 16 to 1600, those of reference base of 50000 to",
        ),
        (["{run}", "--reference", "quickstart_scratch"], "has no metric that reference"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys, arguments, message):
    def bare(record):
        return {n: v for n, v in record.items() if n == "contrastive_accuracy"}

    run = write_run(tmp_path / "run", "quickstart_pretrain", change=bare)
    arguments = [argument.format(run=run) for argument in arguments]
    assert run_command(compare.main, arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_the_reference_follows_from_the_configuration():
    contrastive = {"objective": {"name": "contrastive"}, "model": {"family": "base"}}
    assert choose(contrastive) == "base"
    assert choose({"objective": {"name": "ctc"}, "init_from": ""}) == "quickstart_scratch"


def test_every_stored_curve_has_a_recipe_of_the_package():
    stored = {path.stem for path in reference_curves.FOLDER.glob("*.json")}
    assert stored == {*reference_curves.RECIPES}
    for name, recipe in reference_curves.RECIPES.items():
        objective = load_config(recipe)["objective"]["name"]
        assert objective == reference_curves.load(name).config["objective.name"]


def test_published_accuracy_of_base_rises_to_63_percent():
    train = reference_curves.load("base").splits["train"]
    assert dict(zip(train["step"], train["contrastive_accuracy"][0], strict=True))[4e5] == 0.629
    assert (np.diff(train["contrastive_accuracy"][0]) > 0).all()


def test_a_mean_is_over_the_last_five_records_or_those_there_are():
    np.testing.assert_allclose(smoothed(np.arange(7.0)), [0, 0.5, 1, 1.5, 2, 3, 4])


def test_curves_hold_the_records_that_all_seeds_have():
    runs = [
        [{"step": s, "split": "train", "loss": s + seed / 7, "epoch": 0} for s in range(3 - seed)]
        for seed in range(2)
    ]
    assert make_curves.curves(runs, "train") == {
        "step": [0, 1],
        "loss": [[0.0, 1.0], [0.1429, 1.143]],
    }


def test_two_results_are_compared_without_waiting_for_jax():
    code = "import sys, w2v2_jax.compare; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.json b.json --png x.png", "--png changes nothing with two results"),
        ("a.json b.json --reference base", "--reference changes nothing with two results"),
        ("run --speakers", "--speakers changes nothing with a workdir"),
    ],
)
def test_an_option_that_would_change_nothing_is_told(words, message, capsys):
    assert run_command(compare.main, words.split()) == 2
    assert message in capsys.readouterr().err
