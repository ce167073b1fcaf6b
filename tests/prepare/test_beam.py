"""Preparation on Apache Beam's own runner of this machine: the bytes of preparing without it."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers import source_cases
from tests.helpers.prepare_cases import OPTIONS, assert_same, counted, speech
from w2v2_jax.data import writer
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.prepare import beam as on_beam
from w2v2_jax.prepare import command, resumable, work_units
from w2v2_jax.prepare.prepare import prepare

pytestmark = [
    pytest.mark.beam,
    pytest.mark.filterwarnings("default"),  # Beam's own, of grpc and of pickled modules
]
HERE = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
TWO = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(autouse=True)
def apache_beam():
    return pytest.importorskip("apache_beam")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(work_units, "PART", 7)
    monkeypatch.setattr(writer, "SHARD_BYTES", 30_000)
    return speech(tmp_path)


def run(folder, out, **options):
    return prepare(f"folder:{folder}/in", folder / out, **{**OPTIONS, **options})


@pytest.mark.parametrize("options", [HERE, TWO], ids=["in memory", "two processes"])
def test_beam_gives_the_bytes_of_preparing_without_it(folder, capsys, options):
    run(folder, "plain")
    run(folder, "beam", beam=options)
    assert "pieces: 5 made, 0 reused from an earlier run" in capsys.readouterr().out
    assert_same(folder / "plain", folder / "beam")


@pytest.mark.parametrize("kind", sorted(source_cases.CASES))
def test_beam_gives_the_same_bytes_of_every_kind_of_source(kind, tmp_path, monkeypatch):
    if kind in source_cases.EXTRAS:
        pytest.importorskip(source_cases.EXTRAS[kind])
    monkeypatch.setattr(work_units, "PART", 2)
    (tmp_path / "in").mkdir()
    source_cases.CASES[kind](tmp_path / "in")
    place = str(source_cases.place_of(kind, tmp_path / "in"))
    for out, options in (("plain", {}), ("beam", {"beam": HERE})):
        prepare(place, tmp_path / out, **OPTIONS, **options)
    names = sorted(p.relative_to(tmp_path / "plain") for p in (tmp_path / "plain").rglob("*.*"))
    assert len(names) >= 4
    for name in names:
        pair = [(tmp_path / out / name).read_bytes() for out in ("plain", "beam")]
        assert pair[0] == pair[1], name


def test_a_pipeline_that_failed_goes_on_with_what_it_had_not_finished(folder, monkeypatch, capsys):
    run(folder, "plain")
    with monkeypatch.context() as patch:
        counted(patch, break_at=23, error=RuntimeError("the power went"))
        with pytest.raises(InputError, match=r"--beam: .*the power went.*pieces are kept"):
            run(folder, "beam", beam=HERE)
    kept = len(list((folder / "beam").glob(".pieces-*/piece-*.json")))
    assert kept >= 1
    names = counted(monkeypatch)
    run(folder, "beam", beam=HERE)
    assert f"pieces: {5 - kept} made, {kept} reused from an earlier run" in capsys.readouterr().out
    assert len(names) <= 7 * (5 - kept)
    assert_same(folder / "plain", folder / "beam")


def test_what_beam_began_is_finished_without_it(folder, monkeypatch, capsys):
    run(folder, "plain")
    with monkeypatch.context() as patch:
        patch.setattr(resumable, "write_jobs", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(folder, "out", beam=HERE)
    run(folder, "out", resumable=True)
    assert "pieces: 0 made, 5 reused from an earlier run" in capsys.readouterr().out
    assert_same(folder / "plain", folder / "out")


def test_kill_9_of_the_command_loses_the_pieces_under_way_alone(tmp_path, capsys):
    speech(tmp_path, count=600)  # two parts of 512
    line = ["--source", f"folder:{tmp_path}/in", "--holdout", "dev=0.2"]
    assert run_command(command.main, [*line, "--out", f"{tmp_path}/plain", "--workers", "1"]) == 0
    on_this = [*line, "--out", f"{tmp_path}/out", "--beam", "--beam-options", *HERE]
    with subprocess.Popen([sys.executable, "-m", "w2v2_jax.prepare", *on_this]) as process:
        while not list(tmp_path.glob("out/.pieces-*/piece-000000-*.json")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not list((tmp_path / "out").glob("[a-z]*"))
    capsys.readouterr()
    assert run_command(command.main, on_this) == 0
    assert ", 1 reused from an earlier run" in capsys.readouterr().out.splitlines()[0]
    names = sorted(p.name for p in (tmp_path / "plain" / "dev").iterdir())
    for name in names:
        for split in ("dev", "train"):
            pair = [(tmp_path / out / split / name).read_bytes() for out in ("plain", "out")]
            assert pair[0] == pair[1], name


@pytest.fixture(scope="module")
def tfds_module():
    tfds = pytest.importorskip("tensorflow_datasets")
    import apache_beam as beam

    class BeamSpeech(tfds.core.GeneratorBasedBuilder):
        """A data set that TFDS itself makes with Beam."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"audio": tfds.features.Audio(sample_rate=8000), "id": np.str_}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(20)}

        def _generate_examples(self, count):
            def example(k):
                noise = np.random.default_rng(k).integers(-999, 999, 4000 + 50 * k)
                return k, {"audio": noise, "id": f"u-{k:02}"}

            return beam.Create(list(range(count))) | beam.Map(example)

    return tfds


def test_a_data_set_of_tfds_that_beam_makes_is_made_with_the_same_options(
    tfds_module, tmp_path, monkeypatch
):
    real = on_beam.download_config
    monkeypatch.setattr(
        on_beam, "download_config", lambda options: {**real(options), "num_shards": 3}
    )
    where = {"tfds_data_dir": str(tmp_path / "tfds")}
    prepare("tfds:beam_speech", tmp_path / "beam", **{**OPTIONS, **where}, beam=HERE)
    files = list((tmp_path / "tfds").rglob("*.tfrecord-*"))
    assert len(files) == 3
    prepare("tfds:beam_speech", tmp_path / "plain", **{**OPTIONS, **where})
    for split in ("dev", "train"):
        for path in (tmp_path / "plain" / split).iterdir():
            assert path.read_bytes() == (tmp_path / "beam" / split / path.name).read_bytes()
    assert (
        len(open_corpus(f"{tmp_path}/beam:train")) + len(open_corpus(f"{tmp_path}/beam:dev")) == 20
    )


def test_options_go_to_the_runner_as_they_are(monkeypatch):
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PortableOptions

    dataflow = ["--runner=DataflowRunner", "--project=p", "--region=r", "--job_endpoint=h:1"]
    line = ["--source", "folder:x", "--out", "y", "--beam", "--beam-options", *dataflow]
    parsed = command._parser().parse_args(line)
    options = on_beam.pipeline_options(command._beam_options(parsed))
    assert options.view_as(GoogleCloudOptions).project == "p"
    assert options.view_as(GoogleCloudOptions).region == "r"
    assert options.view_as(PortableOptions).job_endpoint == "h:1"
    assert options.get_all_options()["runner"] == "DataflowRunner"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runner=FlinkRunner", "--flink_version=0.1"], "argument --flink_version: invalid"),
        (["--runner=NoSuchRunner"], "NoSuchRunner"),
    ],
)
def test_options_that_beam_refuses_are_one_line(folder, capfd, options, message):
    arguments = ["--source", f"folder:{folder}/in", "--out", f"{folder}/out", "--beam"]
    assert run_command(command.main, [*arguments, "--beam-options", *options]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and lines[0].startswith("error: --beam") and message in lines[0]
