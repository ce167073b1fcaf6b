"""A damaged checkpoint is noticed and passed over, never used and never a reason to begin anew."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.helpers.fault_cases import UNRAISABLE, cut, empty, flip, largest_file, run
from tests.helpers.train_runs import records
from w2v2_jax.checkpoint import checksum
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(UNRAISABLE),
    pytest.mark.usefixtures("programs", "one_device"),
]


@pytest.fixture
def begun(pretrained, tmp_path):
    """A run of 6 updates with checkpoints at 4 and 6, killed as it were after the fourth record."""
    workdir = tmp_path / "run"
    shutil.copytree(pretrained, workdir)
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    return workdir


DAMAGE = {
    "its largest file is cut short": lambda step: cut(largest_file(step)),
    "a bit of its largest file is flipped": lambda step: flip(largest_file(step)),
    "the optimizer's state is gone": lambda step: shutil.rmtree(step / "training"),
    "the parameters are gone": lambda step: shutil.rmtree(step / "params"),
    "the description is gone": lambda step: shutil.rmtree(step / "model"),
    "the description is cut short": lambda step: cut(step / "model" / "metadata"),
    "an index is gone": lambda step: (step / "training" / "manifest.ocdbt").unlink(),
    "nothing is left in it": empty,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_from_a_damaged_checkpoint_a_run_falls_back_says_so_and_ends_as_if_nothing_was(
    corpus, pretrained, begun, capsys, damage
):  # fmt: skip
    DAMAGE[damage](begun / "checkpoints" / "6")
    assert run(corpus, begun) == 0
    said = capsys.readouterr().err
    assert "checkpoints/6 is damaged (" in said and "taking one before" in said
    assert f"resuming {begun} at step 4" in said
    assert records(begun, "train") == records(pretrained, "train")
    assert (begun / "damaged_checkpoints" / "6").is_dir()
    assert (begun / "checkpoints" / "6" / "params").is_dir()  # saved anew


def test_without_a_whole_checkpoint_a_run_is_refused_and_nothing_is_touched(corpus, begun, capsys):
    for step in ("4", "6"):
        cut(largest_file(begun / "checkpoints" / step))
    before = sorted(p for p in begun.rglob("*"))
    assert run(corpus, begun) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoints/6 is damaged" in error and "so are all before it" in error
    assert sorted(p for p in begun.rglob("*")) == before


def rewrite_description(step: Path, change) -> None:
    path = step / "model" / "metadata"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_checkpoint_of_another_format_is_refused_with_the_way_out(corpus, begun, capsys):
    for step in ("4", "6"):
        rewrite_description(begun / "checkpoints" / step, lambda model: model.update(format=0))
    assert run(corpus, begun) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint format 0, this version reads 1 and 2; use the version" in error
    with pytest.raises(InputError, match="checkpoint format 0, this version reads 1 and 2"):
        checkpoint.load(begun)


def test_a_checkpoint_from_before_checksums_is_read(corpus, begun, pretrained):
    shutil.rmtree(begun / "checkpoints" / "6")
    rewrite_description(begun / "checkpoints" / "4", lambda model: model.pop("checksum"))
    assert run(corpus, begun) == 0
    assert records(begun, "train") == records(pretrained, "train")


def test_checksums_are_the_same_on_any_mesh_and_see_one_bit_and_a_swap():
    params = {"a": np.arange(16.0, dtype=np.float32).reshape(8, 2), "b": np.ones(3, np.float32)}
    whole = checksum.sums(params, {"step": np.int32(3)})
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("data",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    spread = {**params, "a": jax.device_put(params["a"], rows)}
    assert checksum.sums(spread, {"step": np.int32(3)}) == whole
    params["a"].view(np.uint32)[5, 1] ^= 1
    assert checksum.sums(params, {"step": np.int32(3)})["params"] != whole["params"]
    two = {"a": np.zeros(3, np.float32), "b": np.ones(3, np.float32)}
    swapped = {"a": two["b"], "b": two["a"]}
    assert checksum.sums(two, {})["params"] != checksum.sums(swapped, {})["params"]


def test_a_damaged_checkpoint_is_not_silently_used_for_inference(begun, capsys):
    for step in ("4", "6"):
        flip(largest_file(begun / "checkpoints" / step / "params"))
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        checkpoint.load(begun)
