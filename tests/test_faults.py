"""What may go wrong around a run: disks, clocks, kills, bad data. Nothing is lost, a line says so.

W2V2_KILLS and W2V2_UPDATES lengthen the two tests that are a matter of patience.
"""

import collections
import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from test_train import (  # noqa: F401
    PRETRAIN,
    corpus,
    one_device,
    options,
    pretrained,
    programs,
    records,
)

from w2v2_jax import checkpoint, checksum, hosts, logbook, prepare, train
from w2v2_jax.data import feed
from w2v2_jax.data.store import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.health import monitor, rules

# After a read or a save that failed, threads of TensorStore find Orbax's event loop closed.
UNRAISABLE = "ignore::pytest.PytestUnraisableExceptionWarning"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(UNRAISABLE)]

KILLS = int(os.environ.get("W2V2_KILLS", "6"))
UPDATES = int(os.environ.get("W2V2_UPDATES", "600"))
STEPS = "--config.train.steps=6"


def run(corpus, workdir, *more):  # noqa: F811
    return run_command(train.main, ["--config", PRETRAIN, *options(corpus, workdir, STEPS, *more)])


@pytest.fixture
def begun(pretrained, tmp_path):  # noqa: F811
    """A run of 6 updates with checkpoints at 4 and 6, killed as it were after the fourth record."""
    workdir = tmp_path / "run"
    shutil.copytree(pretrained, workdir)
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    return workdir


def largest_file(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


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
    corpus, pretrained, begun, capsys, damage  # noqa: F811
):  # fmt: skip
    DAMAGE[damage](begun / "checkpoints" / "6")
    assert run(corpus, begun) == 0
    said = capsys.readouterr().err
    assert "checkpoints/6 is damaged (" in said and "taking one before" in said
    assert f"resuming {begun} at step 4" in said
    assert records(begun, "train") == records(pretrained, "train")
    assert (begun / "damaged_checkpoints" / "6").is_dir()
    assert (begun / "checkpoints" / "6" / "params").is_dir()  # saved anew


def test_without_a_whole_checkpoint_a_run_is_refused_and_nothing_is_touched(corpus, begun, capsys):  # noqa: F811
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


def test_a_checkpoint_of_another_format_is_refused_with_the_way_out(corpus, begun, capsys):  # noqa: F811
    for step in ("4", "6"):
        rewrite_description(begun / "checkpoints" / step, lambda model: model.update(format=0))
    assert run(corpus, begun) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint format 0, this version reads 1; use the version" in error
    with pytest.raises(InputError, match="checkpoint format 0, this version reads 1"):
        checkpoint.load(begun)


def test_a_checkpoint_from_before_checksums_is_read(corpus, begun, pretrained):  # noqa: F811
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


@pytest.fixture
def die_at(monkeypatch):
    """(update) -> the run is interrupted right after its record; (None) -> no longer."""
    write, at = logbook.Logbook.write, []

    def die(self, step, split, metrics):
        write(self, step, split, metrics)
        if step in at:
            raise KeyboardInterrupt

    def put(step):
        at[:] = [step]

    monkeypatch.setattr(logbook.Logbook, "write", die)
    return put


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MiB of its own; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_once_there_is_room(
    corpus, pretrained, small_disk, capsys, die_at  # noqa: F811
):  # fmt: skip
    workdir = small_disk / "run"
    die_at(3)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, workdir)
    die_at(None)
    used = sum(p.stat().st_size for p in workdir.rglob("*") if p.is_file())
    filler = small_disk / "filler"
    filler.write_bytes(bytes(6 * 2**20 - used - 300_000))
    assert run(corpus, workdir) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: --workdir {workdir}: No space left on device")
    assert (workdir / "checkpoints" / "2" / "params").is_dir()
    filler.unlink()
    assert run(corpus, workdir) == 0
    assert records(workdir, "train") == records(pretrained, "train")


def test_prepare_on_a_full_disk_ends_in_one_line_and_leaves_no_half_corpus(
    corpus, small_disk, capsys  # noqa: F811
):  # fmt: skip
    (small_disk / "filler").write_bytes(bytes(6 * 2**20 - 100_000))
    out = small_disk / "corpus"
    source = ["--source", f"folder:{corpus.parent}", "--workers", "1"]
    assert run_command(prepare.main, [*source, "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "No space left on device" in error
    assert not [p for p in out.iterdir() if p.is_dir()]


def test_a_read_only_workdir_is_one_line_before_training(corpus, small_disk, capsys):  # noqa: F811
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True, capture_output=True)
    assert run(corpus, small_disk / "run") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == f"error: --workdir {small_disk / 'run'}: Read-only file system"


def test_a_clock_that_goes_back_changes_no_number_and_overwrites_no_file(
    corpus, pretrained, tmp_path, monkeypatch, die_at  # noqa: F811
):  # fmt: skip
    workdir, frozen, back = tmp_path / "run", time.time(), itertools.count(0, 3600)
    with monkeypatch.context() as patch:
        for now, step in ((lambda: frozen - next(back), 3), (lambda: frozen, 5)):
            patch.setattr(time, "time", now)  # an hour at every look, then not at all
            die_at(step)
            with pytest.raises(KeyboardInterrupt):
                run(corpus, workdir)
        die_at(None)
        assert run(corpus, workdir) == 0
    assert len(list((workdir / "tensorboard").iterdir())) == 3
    assert records(workdir, "train") == records(pretrained, "train")


def test_a_clock_that_jumps_a_year_ahead_in_a_save_costs_that_save_alone(
    corpus, pretrained, tmp_path, capsys, monkeypatch  # noqa: F811
):  # fmt: skip
    """Orbax gives its parts a time by the wall clock; they miss it, and the run says so."""
    workdir, jumps, frozen = tmp_path / "run", itertools.cycle([0, -1e8, 3e7]), time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: frozen + next(jumps))
        status = run(corpus, workdir)
    if status:  # it depends on who looks at the clock first
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert status == 2 and "writing took too long, or the clock jumped" in error
    assert run(corpus, workdir) == 0
    assert records(workdir, "train") == records(pretrained, "train")


def test_a_corpus_that_is_gone_is_named(corpus, tmp_path, capsys):  # noqa: F811
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    for shard in (copy / "train").glob("shard-*"):
        shard.unlink()
    assert run(copy, tmp_path / "run") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "train/shard-00000.i16: cannot map the samples" in error


def test_a_flipped_sample_is_left_out_listed_and_announced(corpus, tmp_path, capsys):  # noqa: F811
    copy, workdir = tmp_path / "corpus", tmp_path / "run"
    shutil.copytree(corpus, copy)
    flip(copy / "train" / "shard-00000.i16")
    assert run(copy, workdir, "--config.health.damaged_limit=1.0") == 0
    said = capsys.readouterr().err
    (entry,) = map(json.loads, (workdir / "damaged_audio.0.jsonl").read_text().splitlines())
    assert entry["reason"] == "checksum differs" and entry["id"] in said
    assert "[warn; docs/symptoms.md#damaged-audio]" in said
    rows = records(workdir, "train")
    assert any(row["empty_rows"] > 0 for row in rows)
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


@pytest.fixture
def poison(monkeypatch):
    """(updates) -> their batches hold a NaN."""

    def put(steps):
        batches = feed.Feed.batches

        def stream(self, first_step, num_steps, **parts):
            for step, batch in enumerate(
                batches(self, first_step, num_steps, **parts), first_step + 1
            ):
                if step in steps and num_steps is not None:  # validation reads to the end
                    batch.waveforms[0, 0] = np.nan
                yield batch

        monkeypatch.setattr(feed.Feed, "batches", stream)
        return steps

    return put


def test_a_non_finite_update_is_not_taken_counted_and_its_rows_written_down(
    corpus, tmp_path, capsys, poison  # noqa: F811
):  # fmt: skip
    poison({3, 5})
    assert run(corpus, tmp_path / "run") == 0
    assert "health: step 3: loss or gradient is not finite" in capsys.readouterr().err
    lines = (tmp_path / "run" / "bad_batches.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(e["step"], e["rule"], e["left_out"]) for e in entries] == [
        (3, "non-finite", False),
        (5, "non-finite", False),
    ]
    assert all(row[0]["id"] for row in entries[0]["rows"])
    taken = [row["skipped"] for row in records(tmp_path / "run", "train")]
    assert taken == [0, 0, 1, 0, 1, 0]
    events = records(tmp_path / "run", "health")
    steps = [event["step"] for event in events if event["rule"] == "non-finite"]
    assert steps == [3]  # once a cooldown


def test_too_many_non_finite_updates_end_the_run_which_can_go_on(
    corpus, pretrained, tmp_path, capsys, poison  # noqa: F811
):  # fmt: skip
    steps = poison({3, 4, 5})
    assert run(corpus, tmp_path / "run", "--config.health.non_finite_limit=1") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: stopped by health rule health: step 4: 2 updates not taken")
    steps.clear()
    assert run(corpus, tmp_path / "run") == 0
    assert records(tmp_path / "run", "train") == records(pretrained, "train")


def test_a_rollback_leaves_batches_out_for_good_also_after_a_kill(
    corpus, tmp_path, capsys, monkeypatch  # noqa: F811
):  # fmt: skip
    """A rule that fires at update 5: back to the checkpoint at 2, updates 4 and 5 not taken."""
    fire = lambda seen: "too loud" if len(seen.steps["loss"]) == 5 else None  # noqa: E731
    loud = tuple(
        rule._replace(check=fire) if rule.name == "loss-spike" else rule for rule in rules.RULES
    )
    more = ("--config.health.rollback=loss-spike", "--config.health.skip_batches=2")
    monkeypatch.setattr(monitor, "RULES", loud)
    assert run(corpus, tmp_path / "run", *more) == 0
    said = capsys.readouterr().err
    assert "health: step 5: too loud [rollback; docs/symptoms.md#loss-spike]" in said
    assert "back at step 2; batches to 5 left out" in said
    rows = records(tmp_path / "run", "train")
    assert [(row["step"], row["skipped"]) for row in rows] == [
        (1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 0),
    ]  # fmt: skip
    assert [e["action"] for e in records(tmp_path / "run", "health")] == ["rollback"]

    monkeypatch.setattr(monitor, "RULES", rules.RULES)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    assert run(corpus, tmp_path / "run", *more) == 0
    assert f"resuming {tmp_path / 'run'} at step 4" in capsys.readouterr().err
    assert records(tmp_path / "run", "train") == rows


def test_a_folder_of_10000_files_with_3_percent_bad_is_prepared_and_every_bad_one_counted(
    tmp_path, capsys
):
    speech, random = tmp_path / "speech", np.random.default_rng(0)
    speech.mkdir()
    bad = collections.Counter()
    good = None
    for i in range(10_000):
        path, kind = speech / f"{i:05}.wav", i % 100
        if kind == 0:
            path.write_bytes(b"")
            bad["empty"] += 1
        elif kind == 33:
            path.write_bytes(b"<html>404</html>" * 20)
            bad["unreadable"] += 1
        elif kind == 66:
            path.write_bytes(good[: len(good) // 2])
            bad["truncated"] += 1
        else:
            soundfile.write(path, 0.1 * random.standard_normal(2400), 16000)
            good = path.read_bytes()
    out = ["--out", str(tmp_path / "out"), "--workers", "2"]
    assert run_command(prepare.main, ["--source", f"folder:{speech}", *out]) == 0
    report = json.loads((tmp_path / "out" / "train" / "report.json").read_text())
    assert {name: entry["count"] for name, entry in report["rejects"].items()} == bad
    corpus = open_corpus(f"{tmp_path / 'out'}:train")  # noqa: F811
    assert len(corpus) == 10_000 - bad.total() and bad.total() == 300
    assert all(map(corpus.verify, range(len(corpus))))


def resources() -> tuple[float, int, int]:
    """(MiB of memory, open files, threads) of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    threads = len(list(Path("/proc/self/task").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threads


def test_memory_files_and_threads_do_not_grow_with_the_updates(corpus, tmp_path, monkeypatch):  # noqa: F811
    seen, write = {}, logbook.Logbook.write

    def measure(self, step, split, metrics):
        write(self, step, split, metrics)
        if split == "train":
            seen[step] = resources()

    monkeypatch.setattr(logbook.Logbook, "write", measure)
    often = UPDATES // 20
    more = (
        f"--config.train.steps={UPDATES}", f"--config.train.log_every={often}",
        f"--config.train.checkpoint_every={often}", "--config.train.eval_every=0",
        "--config.data.bucket_seconds=(1.0,)", "--config.data.batch_seconds=2.0",
    )  # fmt: skip
    assert run(corpus, tmp_path / "run", *more) == 0
    settled, last = seen[6 * often], seen[UPDATES]
    assert last[0] - settled[0] < 20 + 0.002 * UPDATES, seen  # MiB: buffers of 1000 updates
    assert last[1] - settled[1] <= 2 and last[2] - settled[2] <= 2, seen


def test_kills_at_random_moments_lose_nothing(tmp_path):
    script = Path(__file__).with_name("kill_many.py")
    environment = {
        **os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }  # fmt: skip
    command = [sys.executable, str(script), "--kills", str(KILLS), "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    assert f"{KILLS} kills in" in ended.stdout and "nothing lost" in ended.stdout


def test_all_hosts_agree_where_one_alone_knows():
    assert hosts.everywhere(True) and not hosts.everywhere(False)


def test_a_damaged_checkpoint_is_not_silently_used_for_inference(begun, capsys):
    for step in ("4", "6"):
        flip(largest_file(begun / "checkpoints" / step / "params"))
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        checkpoint.load(begun)
