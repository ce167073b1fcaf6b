"""Checkpoints and runs of format 1, which had dtype, remat and formulations in their network."""

import contextlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.helpers.corpora import write_split
from tests.helpers.places import EXPERIMENTS, GOLDEN
from tests.helpers.train_runs import use_one_device
from w2v2_jax.checkpoint.description import describe
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.models.families import model_config
from w2v2_jax.train import command as train
from w2v2_jax.train.workdir import save_record

# Written by the code of format 1.
STORED = json.loads((GOLDEN / "format_1_descriptions.json").read_text())
NETWORKS = {
    "pretraining": model_config("base"),
    "pretraining, executed otherwise": model_config("xls_r_300m"),
    "tuned, executed otherwise": model_config("mms_1b_adapters", attention_dropout=0.0),
}


@pytest.mark.parametrize("name", STORED)
def test_a_stored_description_gives_the_network_without_its_execution(name):
    described = describe(STORED[name], "here")
    assert described.model == NETWORKS[name]
    assert described.normalise == STORED[name]["normalise"]
    assert described.normalise_epsilon == 1e-5  # all that there was
    assert described.objective == STORED[name]["objective"]


@pytest.mark.parametrize("name", STORED)
def test_it_is_written_again_as_format_2_and_read_back(name):
    described = describe(STORED[name], "here")
    written = json.loads(json.dumps(described.to_json()))
    assert written["format"] == 2 and "dtype" not in written["model"]
    assert describe(written, "here") == described


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "checkpoint format 3, this version reads 1 and 2"),
        ({"format": True}, "checkpoint format True"),
        ({"model": {"dtype": "bfloat16"}}, "unusable.*dtype"),
        ({"model": {"depth": 3}}, "unusable.*depth"),
        ({"normalise_epsilon": 0.0}, "unusable.*normalise_epsilon=0.0"),
        ({"normalise_epsilon": "1e-7"}, "unusable.*normalise_epsilon='1e-7'"),
    ],
)
def test_what_format_2_does_not_have_is_refused(change, message):
    written = {**describe(STORED["pretraining"], "here").to_json(), **change}
    with pytest.raises(InputError, match=message):
        describe(written, "here")


def recipe(**model):
    return {
        "seed": 1, "model": {"family": "base", **model}, "objective": {}, "data": {"train": "a"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "execution"),
    [
        (recipe(dtype="bfloat16", remat="dots"), {"dtype": "bfloat16", "remat": "full"}),
        (recipe(attention_formulation="tight"), {}),
        (recipe(family="inherit"), {"dtype": "bfloat16"}),  # it came with the checkpoint
    ],
)
def test_a_run_that_began_with_execution_in_its_model_goes_on(old, execution, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    new = recipe(family=old["model"]["family"]) | {"execution": execution}
    save_record(tmp_path, new, {"config": new})
    save_record(tmp_path, new, {"config": new})


@pytest.mark.parametrize("old", [recipe(dtype="bfloat16"), recipe() | {"execution": {}}])
def test_another_dtype_in_the_same_workdir_is_refused(old, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    other = "float32" if "dtype" in old["model"] else "bfloat16"
    new = recipe() | {"execution": {"dtype": other}}
    with pytest.raises(InputError, match=rf"another config\.execution\.dtype: .*, {other} now"):
        save_record(tmp_path, new, {"config": new})


SIZES = dict(
    conv_layers=((8, 10, 5), (8, 4, 4), (8, 4, 4), (8, 2, 2), (8, 2, 2)), d_model=8, num_layers=2,
    num_heads=2, ffn_dim=8, position_kernel=4, position_groups=2, entries=4, code_dim=4,
    final_dim=4,
)  # fmt: skip


@pytest.mark.parametrize(("lengths", "same"), [([3.0], True), ([1.5, 3.0], False)])
def test_a_group_counted_in_rows_goes_on_as_its_seconds_where_no_bucket_has_another(
    lengths, same, tmp_path
):
    data = {"mode": "crop", "bucket_seconds": lengths}
    old = recipe() | {"objective": {"diversity_group_rows": 8}, "data": data}
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    new = old | {"objective": {"diversity_group_seconds": 24.0}}
    with contextlib.nullcontext() if same else pytest.raises(InputError, match="another config"):
        save_record(tmp_path, new, {"config": new})


@pytest.mark.slow
def test_a_run_begun_by_the_code_of_format_1_goes_on_in_format_2(tmp_path, monkeypatch):
    """The stored run of 2 updates in bfloat16, scanned and rematerialised, of this recipe."""
    with tarfile.open(GOLDEN / "format_1_run.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for split in ("train", "dev"):
        texts = ("AB CA", "B A", "CAB CAB A", "C", "A B C A B", "BA")
        write_split(tmp_path / "corpus", split, texts=texts)
    use_one_device(monkeypatch)
    monkeypatch.chdir(tmp_path)
    begun = json.loads((tmp_path / "run" / "config.json").read_text())
    assert begun["model"]["dtype"] == "bfloat16"
    # Two rows were a group in both buckets: another loss now, which such a run does not go on with.
    del begun["objective"]["diversity_group_rows"]
    begun["objective"]["diversity_group_seconds"] = 2.0
    Path("run/config.json").write_text(json.dumps(begun))
    shutil.copytree("run", "refused")
    options = [
        "--config", f"{EXPERIMENTS}/pretrain_base.py:smoke", "--config.data.train=corpus:train",
        "--config.data.valid=corpus:dev", "--config.data.reader=threads", "--config.mesh.data=1",
        "--config.execution.scan_layers=True", "--config.execution.remat=dots",
        "--config.train.steps=3", *(f"--config.model.{k}={v}" for k, v in SIZES.items()),
    ]  # fmt: skip
    assert run_command(train.main, ["--workdir", "refused", *options]) == 2  # in float32
    train.main(["--workdir", "run", *options, "--config.execution.dtype=bfloat16"])
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if x["split"] == "train"] == [1, 2, 3]
    model = json.loads((tmp_path / "run" / "checkpoints" / "3" / "model" / "metadata").read_text())
    assert model["format"] == 2 and "dtype" not in model["model"]
