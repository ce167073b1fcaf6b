"""Object-store paths through the libraries' own file layer, on a bucket in memory."""

import fsspec
import numpy as np
import pytest
import soundfile

from tests.helpers.bucket import Bucket
from w2v2_jax import paths, stage
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.joined import open_splits
from w2v2_jax.errors import InputError
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
