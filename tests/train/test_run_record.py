"""What a resume may change, told from what it must not; and what a workdir says of its run."""

import copy
import json
import os
import subprocess
import types

import jax
import numpy as np
import pytest

import w2v2_jax
from tests.helpers.places import ROOT
from tests.helpers.train_runs import FINETUNE, PRETRAIN
from w2v2_jax.errors import InputError
from w2v2_jax.experiment import build
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.resolved import resolved
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.train import old_records, run_record, workdir
from w2v2_jax.vocabulary import LIBRISPEECH


def configuration(recipe, *overrides):
    """The resolved configuration of a toy recipe."""
    raw = load_config(recipe)
    override(raw, [f"--config.{item}" for item in overrides])
    vocabulary = LIBRISPEECH if raw["objective"]["name"] == "ctc" else None
    devices = jax.devices()[:1]
    built = build.build(read_settings(raw), vocabulary=vocabulary, devices=devices)
    return resolved(built)


def facts(*overrides, train="aaa", valid="bbb", recipe=PRETRAIN):
    return {
        "config": configuration(recipe, *overrides),
        "data": {"train": {"fingerprint": train}, "valid": {"fingerprint": valid}},
    }


@pytest.fixture(scope="module")
def began():
    return facts()


def has_saved(folder):
    """Makes it look as if a checkpoint had been saved there."""
    (folder / "checkpoints" / "2").mkdir(parents=True)


def feed_of(*, fingerprint="f", samples=(57_600_000, 13_511_109), batches=(0, 1)):
    """What a record needs of a feed: two clips of 1.234568 h, one a batch."""

    class Corpus(list):
        num_samples = np.array(samples)

        def fingerprint(self):
            return fingerprint

    rows = [types.SimpleNamespace(rows=(((k, 0, samples[k]),),)) for k in batches]
    used = types.SimpleNamespace(utterances=1, hours=1.0000123)
    plan = types.SimpleNamespace(batch=rows.__getitem__, summary=lambda: used)
    return types.SimpleNamespace(corpus=Corpus(samples), plan=plan, mixture=None, augmentation=None)


def test_the_data_is_recorded_by_its_content_and_by_the_order_of_its_first_batch():
    content = run_record._content(feed_of())
    assert content == {**content, "clips": 2, "hours": 1.2346}
    assert content == {**content, "used_clips": 1, "used_hours": 1.0}
    assert content.keys() == {"fingerprint", "clips", "hours", "used_clips", "used_hours"}
    other = run_record._content(feed_of(fingerprint="g"))
    assert other["fingerprint"] != content["fingerprint"]
    orders = [run_record._order(feed_of(batches=batches)) for batches in ((0, 1), (0, 1), (1, 0))]
    assert orders[0] == orders[1] != orders[2]
    assert len(content["fingerprint"]) == len(orders[0]) == 16


REFUSED = {
    "seed=7": "config.seed: 1 there, 7 now",
    "init_from=elsewhere": "config.init_from:  there, elsewhere now",
    "model.num_layers=3": "config.model.num_layers: 2 there, 3 now",
    "model.dropout=0.3": "config.model.dropout: 0.0 there, 0.3 now",
    "execution.dtype=bfloat16": "config.execution.dtype: float32 there, bfloat16 now",
    "objective.num_negatives=50": "config.objective.num_negatives: 100 there, 50 now",
    "schedule.peak=0.5": "config.schedule.peak: 0.0015 there, 0.5 now",
    "schedule.total=50": "config.schedule.total: train.steps there, 50 now",
    "optimizer.clip_norm=1.0": "config.optimizer.clip_norm: 0.0 there, 1.0 now",
    "optimizer.ema_decay=0.9": "config.optimizer.ema_decay: 0.0 there, 0.9 now",
    "data.normalise=False": "config.data.normalise: True there, False now",
    "data.mode=crop": "config.data.mode: concatenate there, crop now",
    "data.bucket_seconds=(2.0,)": "config.data.bucket_seconds: [1.0, 2.0] there, [2.0] now",
    "data.batch_seconds=16.0": "config.data.batch_seconds: 8.0 there, 16.0 now",
    "data.row_multiple=4": "config.data.row_multiple: 2 there, 4 now",
    "data.min_seconds=3.0": "config.data.min_seconds: 0.0 there, 3.0 now",
    "train.best_metric=loss": "config.train.best_metric: contrastive_loss there, loss now",
    "train.best_mode=max": "config.train.best_mode: min there, max now",
}
FREE = (  # the first three are defaults, written out
    "optimizer.clip_norm=0.0", "train.best_mode=min", "data.normalise_epsilon=1e-5",
    "data.train=elsewhere", "data.valid=elsewhere", "data.reader=threads", "data.workers=3",
    "data.verify=False", "train.accumulate=2", "train.log_every=7", "train.eval_every=7",
    "train.checkpoint_every=7", "train.keep_last=7", "train.keep_best=7", "train.keep_every=7",
    "health.stop=('all-blank',)", "execution.remat=full",
)  # fmt: skip
TOLD = ("train.steps=50", "data.valid_batch_seconds=4.0")


def test_what_changes_rows_or_mathematics_is_refused_with_both_values(began):
    refused, told = run_record.compare(began, facts(*REFUSED))
    assert [line.partition(" (")[0] for line in refused] == sorted(REFUSED.values())
    assert told == []


def test_what_changes_neither_is_free(began):
    assert run_record.compare(began, facts(*FREE)) == ([], [])


def test_what_changes_figures_alone_is_told(began):
    refused, told = run_record.compare(began, facts(*TOLD, valid="ccc"))
    assert refused == []
    paths = [line.partition(":")[0] for line in told]
    assert paths == sorted([*(f"config.{t.partition('=')[0]}" for t in TOLD),
                            "data.valid.fingerprint"])  # fmt: skip


def test_another_vocabulary_is_refused():
    before = facts(recipe=FINETUNE)
    now = copy.deepcopy(before)
    now["config"]["vocabulary"]["case"] = "lower"
    refused, _ = run_record.compare(before, now)
    assert [line.partition(":")[0] for line in refused] == ["config.vocabulary.case"]


def test_data_is_known_by_its_content_wherever_it_lies(began):
    other = {**began, "data": {"train": {"fingerprint": "ccc"}}}
    refused, _ = run_record.compare(began, other)
    assert refused == ["data.train.fingerprint: aaa there, ccc now (other clips, texts or samples)"]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ((), ["data.train.order"]),
        (("seed=7",), ["config.seed"]),
        (("data.row_multiple=4",), ["config.data.row_multiple"]),
        (("schedule.peak=0.5",), ["config.schedule.peak", "data.train.order"]),
    ],
)
def test_the_code_is_blamed_for_another_order_only_where_nothing_else_makes_it(change, refused):
    before, now = (facts(*options) for options in ((), change))
    for one, order in ((before, "aa"), (now, "bb")):
        one["data"]["train"]["order"] = order
    lines, _ = run_record.compare(before, now)
    assert [line.partition(":")[0] for line in lines] == refused


def test_every_section_of_a_configuration_has_a_row_of_its_own(began):
    rows = {row.path for row in run_record.CHANGES}
    assert {f"config.{section}" for section in began["config"]} <= rows
    assert run_record.change_of("config.another").verdict == run_record.REFUSED
    assert run_record.change_of("config.dataset").verdict == run_record.REFUSED


def test_a_long_value_is_cut_to_60_characters(began):
    for length, shown in ((60, "x" * 60), (61, "x" * 57 + "...")):
        other = {"config": {**began["config"], "init_from": "x" * length}}
        (line,), _ = run_record.compare(began, other)
        assert f" there, {shown} now (" in line


def test_a_start_may_be_named_in_another_way(began, tmp_path, monkeypatch):
    """The same command with the full path, or from another folder, was refused."""
    (tmp_path / "runs/a").mkdir(parents=True)
    (tmp_path / "runs/b").mkdir()
    (tmp_path / "link").symlink_to("runs/a")
    monkeypatch.chdir(tmp_path)
    with_start = lambda name: {"config": {**began["config"], "init_from": name}}  # noqa: E731
    for name in ("runs/a/", "./runs/a", f"{tmp_path}/runs/a", "link"):
        assert run_record.compare(with_start("runs/a"), with_start(name)) == ([], [])
    for name in ("runs/b", "runs", "", "gone", None):
        refused, _ = run_record.compare(with_start("runs/a"), with_start(name))
        assert len(refused) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, True), (0.5, True), (3, True), (-1, False), (True, False), ("1", False), (None, False)],
)
def test_a_duration_of_an_old_configuration_is_a_number_that_is_not_below_0(value, expected):
    assert old_records.is_duration(value) == expected


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("data.train.clips", "free"),  # follows from the fingerprint
        ("data.train.order", "refused"),
        ("data.train.shares", "refused"),
        ("data.train.parts", "refused"),
        ("data.train.noise", "refused"),
        ("data.train.rooms", "refused"),
        ("config.data.alpha", "free"),
        ("config.data.augment.speed", "refused"),
        ("config.data.augment.noise", "free"),
        ("config.data.augment.rooms", "free"),
        ("data.valid.fingerprint", "told"),
        ("code.version", "told"),
        ("config.mesh.data", "free"),
        ("config.health.rollback", "free"),
        ("config.data.prefetch_mib", "free"),
        ("config.data.valid_bucket_seconds", "told"),
        ("config.train", "free"),
        ("config.training", "refused"),  # no part of config.train
    ],
)
def test_the_longest_path_that_fits_decides(path, verdict):
    assert run_record.change_of(path).verdict == verdict


def test_a_run_that_saved_no_checkpoint_can_start_again_with_another_configuration(
    began, tmp_path, capsys
):
    workdir.save_record(tmp_path, {"seed": 1}, began)
    other = facts("seed=7", "data.normalise=False")
    workdir.save_record(tmp_path, {"seed": 7}, other)
    said = capsys.readouterr().err
    assert f"{tmp_path} has no checkpoint: it starts again with another config.data.norm" in said
    assert "; config.seed: 1 there, 7 now" in said and "resuming" not in said
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["facts"] == other and len(record["starts"]) == 1
    assert json.loads((tmp_path / "config.json").read_text()) == {"seed": 7}


def test_a_workdir_that_differs_is_refused_in_one_line_and_left_as_it_was(began, tmp_path):
    workdir.save_record(tmp_path, {"seed": 0}, began)
    before = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    has_saved(tmp_path)
    differs = copy.deepcopy(began)
    differs["config"]["seed"], differs["config"]["data"]["normalise"] = 7, False
    with pytest.raises(InputError) as raised:
        workdir.save_record(tmp_path, {"seed": 7}, differs)
    line = str(raised.value)
    assert line.startswith(f"--workdir {tmp_path} was started with another config.data.normalise")
    assert "; config.seed: 1 there, 7 now" in line and "\n" not in line
    assert {path.name: path.read_text() for path in tmp_path.glob("*.json")} == before


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_run_of_a_version_without_averages_has_none(began, tmp_path, decay):
    before = copy.deepcopy(began)
    del before["config"]["optimizer"]["ema_decay"]
    workdir.save_record(tmp_path, {"seed": 0}, before)
    has_saved(tmp_path)
    if not decay:
        workdir.save_record(tmp_path, {"seed": 0}, began)
        return
    with pytest.raises(InputError, match=r"config\.optimizer\.ema_decay: 0\.0 there, 0\.9 now"):
        workdir.save_record(tmp_path, {"seed": 0}, facts(f"optimizer.ema_decay={decay}"))


def test_a_run_without_a_record_is_compared_by_its_configuration(began, tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 99, "data": {}}')
    has_saved(tmp_path)
    with pytest.raises(InputError, match=r"another config\.seed: 99 there, 1 now"):
        workdir.save_record(tmp_path, {"seed": 0}, began)


def test_a_run_without_its_configuration_is_compared_by_its_record(began, tmp_path):
    """Nothing was compared then, and the record was replaced."""
    workdir.save_record(tmp_path, {"seed": 0}, began)
    has_saved(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"another config\.seed: 1 there, 7 now"):
        workdir.save_record(tmp_path, {"seed": 7}, facts("seed=7"))


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (("run.json",), "no run.json: whether the data is that of the run is not known"),
        (("run.json", "config.json"), "no run.json and no config.json: whether settings and data"),
        ((), ""),
    ],
)
def test_what_no_file_says_of_a_run_is_told(began, tmp_path, capsys, gone, said):
    workdir.save_record(tmp_path, {"seed": 0, **began["config"]}, began)
    for name in gone:
        (tmp_path / name).unlink()
    workdir.save_record(tmp_path, {"seed": 0}, began)  # nothing is saved: nothing to compare with
    assert "not known" not in capsys.readouterr().err
    for name in gone:
        (tmp_path / name).unlink()
    has_saved(tmp_path)
    if (tmp_path / "config.json").exists():
        (tmp_path / "config.json").write_text("{}")
    workdir.save_record(tmp_path, {"seed": 0}, began)
    told = capsys.readouterr().err
    assert (f"warning: {tmp_path}: {said}" in told) if said else ("not known" not in told)


@pytest.mark.parametrize("name", ["config.json", "run.json"])
def test_a_state_file_cut_short_is_one_line(began, tmp_path, name):
    workdir.save_record(tmp_path, {"seed": 0}, began)
    path = tmp_path / name
    path.write_text(path.read_text()[:-9])
    with pytest.raises(InputError, match=f"{name}: cannot be read as JSON"):
        workdir.save_record(tmp_path, {"seed": 0}, began)


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: record.update(starts=None),
        lambda record: record.update(starts={"date": 1}),
        lambda record: record.update(starts=["2026"]),
        lambda record: record.update(facts=[]),
        lambda record: record["facts"].update(config="small"),
        lambda record: record["facts"].pop("config"),
        lambda record: record["facts"].update(data=None),
        lambda record: record["facts"]["data"].update(train="aaa"),
    ],
)
def test_a_record_of_other_types_is_one_line(began, tmp_path, edit):
    """Some were tracebacks, and in others the data was not compared."""
    workdir.save_record(tmp_path, {"seed": 0}, began)
    has_saved(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    edit(record)
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"{tmp_path}/run.json: no record of a run; put it back"):
        workdir.save_record(tmp_path, {"seed": 0}, began)


@pytest.mark.parametrize("section", ["model", "data", "train"])
def test_a_configuration_of_other_types_is_one_line(began, tmp_path, section):
    (tmp_path / "config.json").write_text(json.dumps({section: [1]}))
    with pytest.raises(InputError, match=f"{tmp_path}/config.json: no configuration of a run"):
        workdir.save_record(tmp_path, {"seed": 0}, began)


@pytest.mark.parametrize("name", ["config.json", "run.json"])
def test_a_kill_while_a_state_file_is_written_leaves_the_one_before(
    began, tmp_path, monkeypatch, name
):
    workdir.save_record(tmp_path, {"seed": 0}, began)
    before = (tmp_path / name).read_text()
    replace = os.replace

    def die(source, target):
        if str(target).endswith(name):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        workdir.save_record(tmp_path, {"seed": 0, "more": 1}, copy.deepcopy(began))
    assert (tmp_path / name).read_text() == before


def test_the_record_names_code_libraries_and_devices_once_for_equal_starts(began, tmp_path):
    for _ in range(2):
        workdir.save_record(tmp_path, {"seed": 0}, began)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["facts"] == began
    (start,) = record["starts"]
    libraries = {"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"}
    assert start["versions"].keys() == {"python", *libraries}
    assert start["code"]["version"] == w2v2_jax.__version__
    assert start["devices"].startswith(f"{jax.device_count()} ")


def test_the_code_is_named_by_its_commit_in_a_checkout_else_by_its_version(tmp_path):
    assert run_record.revision(tmp_path) == {"version": w2v2_jax.__version__}
    if (ROOT / ".git").exists():
        head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        assert run_record.revision()["commit"] == commit
