"""Object-store paths through the libraries' own file layer, on a bucket in memory."""

import errno
import io
import json
import math
import os
import re
import shutil

import fsspec
import numpy as np
import pytest
import soundfile

from tests.helpers.bucket import Bucket
from w2v2_jax import paths, stage
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.joined import open_splits
from w2v2_jax.errors import InputError
from w2v2_jax.evaluation.runs import read_run, series
from w2v2_jax.health.monitor import Alarm
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.train.metric_writer import MetricWriter
from w2v2_jax.train.workdir import lock, save_record


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for k in range(6):
        samples = 0.1 * rng.standard_normal(4000 + 500 * k)
        soundfile.write(folder / f"{k}.wav", samples, 16000)
    lines = "".join(f"{k}.wav\tText {k}\t{'dev' if k > 3 else 'train'}\n" for k in range(6))
    (folder / "transcripts.tsv").write_text(lines)
    prepare(
        f"folder:{folder}", folder / "out", split=None, holdout={}, min_seconds=0.1,
        require_text=False, workers=1, overwrite=False, progress=False,
    )  # fmt: skip
    return folder / "out"


@pytest.fixture
def bucket(prepared, monkeypatch):
    """gs://bucket with the prepared corpus under /corpus."""
    # etils asks once a process whether TensorFlow is there; another test may have been first.
    monkeypatch.setattr("etils.epath.gpath._is_tf_installed", lambda: False)
    for name in ("gcs", "gs"):
        fsspec.register_implementation(name, Bucket, clobber=True)
    root = paths.to_path("gs://bucket")
    for path in prepared.rglob("*"):
        if path.is_file():
            target = root / "corpus" / path.relative_to(prepared).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    yield "gs://bucket"
    Bucket.store.clear()


def test_a_uri_keeps_its_slashes_and_an_unknown_scheme_is_refused():
    assert str(paths.to_path("gs://b/x") / "y") == "gs://b/x/y"
    assert str(paths.absolute("s3://b/x")) == "s3://b/x"
    assert paths.absolute("x").is_absolute()
    with pytest.raises(InputError, match="ftp:// is not a known file layer; use gs://"):
        paths.to_path("ftp://b/x")


@pytest.mark.parametrize("split", ["train", "train+dev"])
def test_a_corpus_in_a_bucket_reads_like_a_local_one(bucket, prepared, split):
    remote, local = (open_splits(f"{place}:{split}") for place in (f"{bucket}/corpus", prepared))
    assert list(remote.texts()) == list(local.texts())
    np.testing.assert_array_equal(remote.num_samples, local.num_samples)
    for i in range(len(local)):
        np.testing.assert_array_equal(remote.read(i, 7, 900), local.read(i, 7, 900))
    assert remote.fingerprint() == local.fingerprint()


def test_a_bucket_without_a_corpus_is_named(bucket):
    with pytest.raises(InputError, match="gs://bucket/none: no such directory"):
        open_corpus(f"{bucket}/none")
    with pytest.raises(InputError, match=r"more than one split; use one of gs://bucket/corpus:dev"):
        open_corpus(f"{bucket}/corpus")


def test_staging_copies_what_is_missing_and_goes_on_where_it_stopped(bucket, prepared, tmp_path):
    assert stage.stage(f"{bucket}/corpus", str(tmp_path), []) == ["dev", "train"]
    assert stage.stage(f"{bucket}/corpus", str(tmp_path), []) == []
    copy = open_corpus(f"{tmp_path}:train")
    assert copy.verify_index() and all(copy.verify(i) for i in range(len(copy)))
    (tmp_path / "train" / "corpus.json").unlink()  # as a kill leaves it
    (tmp_path / "train" / "shard-00000.i16").write_bytes(b"cut")
    assert stage.stage(f"{bucket}/corpus", str(tmp_path), ["train"]) == ["train"]
    copy = open_corpus(f"{tmp_path}:train")
    assert all(copy.verify(i) for i in range(len(copy)))
    assert not list(tmp_path.glob("*/.*"))


def test_staging_goes_on_only_with_what_it_copied_of_the_same_preparation(prepared, tmp_path):
    """Another preparation may have files of the same size."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(prepared, source)
    stage.stage(str(source), str(target), ["train"])
    (target / "train" / "corpus.json").unlink()  # as a kill leaves it
    shard = target / "train" / "shard-00000.i16"
    other = bytes(reversed(shard.read_bytes()))
    for fingerprint in ("another", None):  # None: a copy by an earlier version
        shard.write_bytes(other)
        if fingerprint:
            (target / "train" / stage.UNDER_WAY).write_text(fingerprint)
        assert stage.stage(str(source), str(target), ["train"]) == ["train"]
        copy = open_corpus(f"{target}:train")
        assert all(copy.verify(i) for i in range(len(copy)))
        assert not list(target.glob("*/.*"))
        (target / "train" / "corpus.json").unlink()
    shard.write_bytes(other)  # the same preparation: what has the right size is not copied again
    (target / "train" / stage.UNDER_WAY).write_text(copy.fingerprint())
    stage.stage(str(source), str(target), ["train"])
    assert shard.read_bytes() == other


def test_staging_refuses_a_shard_that_is_cut_short_and_mends_a_copy_that_is(prepared, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(prepared, source)
    assert stage.stage(str(source), str(target), ["train"]) == ["train"]
    whole = (target / "train/shard-00000.i16").read_bytes()
    (target / "train/shard-00000.i16").write_bytes(whole[:-2])
    assert stage.stage(str(source), str(target), ["train"]) == ["train"]
    assert (target / "train/shard-00000.i16").read_bytes() == whole
    (source / "train/shard-00000.i16").write_bytes(whole[:-2])
    with pytest.raises(InputError, match=r"shard-00000.i16: \d+ of \d+ samples; copy or prepare"):
        stage.stage(str(source), str(tmp_path / "other"), ["train"])


def test_two_nodes_that_stage_onto_one_disk_both_end_well(prepared, tmp_path, monkeypatch):
    """As in a job of several nodes that share the project's folder."""
    copy = stage._copy

    def second(source, target, ended=None):
        monkeypatch.setattr(stage, "_copy", copy)
        target.parent.joinpath(stage.UNDER_WAY).unlink()  # it began just as early
        assert stage.stage(str(prepared), str(tmp_path), ["train"]) == ["train"]
        copy(source, target)

    monkeypatch.setattr(stage, "_copy", second)
    assert stage.stage(str(prepared), str(tmp_path), ["train"]) == ["train"]
    staged = open_corpus(f"{tmp_path}:train")
    assert all(staged.verify(i) for i in range(len(staged)))
    assert not list(tmp_path.glob("*/.*"))


def test_staging_goes_to_a_folder_of_this_machine_outside_of_the_split(prepared, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(prepared, source)
    (source / "train" / "notes").mkdir()  # no part of a split
    stage.stage(str(source), str(tmp_path / "staged"), ["train"])
    assert not (tmp_path / "staged" / "train" / "notes").exists()
    for arguments, message in (
        ((source, "gs://bucket/corpus"), "--to gs://bucket/corpus is no folder on this machine"),
        ((source, source / "train" / "copy"), "lies inside of a split of --from"),
        ((f"{source}:train", tmp_path / "x"), f"a split of it is --from {source} --split train"),
        ((source, tmp_path / "staged/train/corpus.json"), "corpus.json is a file, not a folder"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            stage.stage(*map(str, arguments), [])
    assert not (source / "train" / "copy").exists()


def test_staging_refuses_another_corpus_and_an_unknown_split(bucket, prepared, tmp_path):
    with pytest.raises(InputError, match="no prepared split test; there are dev, train"):
        stage.stage(str(prepared), str(tmp_path), ["test"])
    stage.stage(str(prepared / ".." / "out"), str(tmp_path), ["train"])
    (tmp_path / "train").rename(tmp_path / "dev")
    with pytest.raises(InputError, match="holds another corpus"):
        stage.stage(str(prepared), str(tmp_path), ["dev"])


def test_a_run_in_a_bucket_writes_its_configuration_and_its_metrics_there(bucket):
    workdir = paths.to_path(f"{bucket}/run")
    config = {"seed": 1, "data": {"train": "x"}}
    with lock(workdir):
        save_record(workdir, config, {"config": config})
        save_record(workdir, config, {"config": config})
    (workdir / "checkpoints/1").mkdir(parents=True)
    (workdir / "checkpoints/1/file").write_text("")
    with pytest.raises(InputError, match=r"gs://bucket/run was started with another config\.seed"):
        other = {**config, "seed": 2}
        save_record(workdir, other, {"config": other})
    for first in (0, 1):  # the resumed run drops what it writes again
        with MetricWriter(workdir, first_step=first, total=3) as writer:
            for step in (first + 1, first + 2):
                writer.write(step, "train", {"loss": 1.0})
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert [line[:11] for line in lines] == [f'{{"step": {k},' for k in (1, 2, 3)]
    assert len(list((workdir / "tensorboard").iterdir())) >= 1


# ---- writing ------------------------------------------------------------------------------------


def strict(text):
    """JSON as parsers outside Python read it."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_are_null_in_json():
    value = {"loss": math.nan, "interval": (0.5, math.inf), "x": np.float32("-inf"), "n": [1, True]}
    assert strict(paths.json_text(value)) == {
        "loss": None, "interval": [0.5, None], "x": None, "n": [1, True],
    }  # fmt: skip
    assert strict(paths.json_text(np.array([1.5, np.nan]))) == [1.5, None]


def test_a_full_disk_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.json"
    paths.write_json(path, {"a": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"a\.json: No space left"):
        paths.write_json(path, {"a": 2})
    assert strict(path.read_text()) == {"a": 1} and list(path.parent.iterdir()) == [path]


def test_a_link_is_written_through_and_a_pipe_is_written_to(tmp_path):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "a.txt", tmp_path / "there" / "b.txt"
    link.symlink_to(target)
    paths.write_text(link, "one")
    assert link.is_symlink() and target.read_text() == "one"
    reader, writer = os.pipe()
    paths.write_text(f"/dev/fd/{writer}", "two")
    assert os.read(reader, 10) == b"two"


def test_a_name_with_bytes_that_are_no_text_is_written_as_an_escape(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    paths.write_json(tmp_path / "a.json", {"id": name})
    assert strict((tmp_path / "a.json").read_text("utf-8")) == {"id": name}


def test_a_configuration_cut_short_is_one_line_that_names_it(tmp_path):
    config = {"data": {"train": "x" * 100}}
    save_record(tmp_path, config, {"config": config})
    path = tmp_path / "config.json"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"config\.json: cannot be read as JSON.*put it back"):
        save_record(tmp_path, config, {"config": config})


def test_metrics_that_are_not_finite_stay_in_the_file_as_null(tmp_path):
    with MetricWriter(tmp_path, first_step=0, total=2, stream=io.StringIO()) as writer:
        writer.write(1, "train", {"loss": math.nan, "weight": 2.0})
        writer.write(2, "train", {"loss": 1.5, "weight": 2.0})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert strict(lines[0]) == {"step": 1, "split": "train", "loss": None, "weight": 2.0}
    assert series(read_run(tmp_path), "train", "loss")[1].tolist() == [1.5]


def test_a_run_with_an_alarm_is_read_as_one_without(tmp_path):
    with MetricWriter(tmp_path, first_step=0, total=2, stream=io.StringIO()) as writer:
        writer.write(1, "train", {"loss": 2.0})
        writer.alarm(Alarm("loss-spike", 1, "loss 0.739 after a median of 0.0616", "warn"))
        writer.write(2, "train", {"loss": 1.5})
    assert series(read_run(tmp_path), "train", "loss")[1].tolist() == [2.0, 1.5]


def test_json_goes_to_a_bucket(bucket):
    paths.write_json(f"{bucket}/new/a.json", {"a": math.inf})
    assert paths.read_json(f"{bucket}/new/a.json") == {"a": None}


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", '{"text": "ráda ven \U0001f41f"}'),
        ("ascii", r'{"text": "r\u00e1da ven \ud83d\udc1f"}'),
    ],
)
def test_json_is_printed_in_its_letters_or_so_that_it_stays_json(encoding, printed, monkeypatch):
    """Standard output writes a letter that its encoding lacks as \\xe1, which no parser reads."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", stream)
    paths.print_json({"text": "ráda ven \U0001f41f"})
    assert written.getvalue().decode("utf-8").rstrip() == printed
