import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from w2v2_jax.data.audio import load_audio
from w2v2_jax.errors import InputError
from w2v2_jax.prepare import source_tfds, work_units
from w2v2_jax.prepare.sources import open_source


def put(path, seconds=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * 16000)) / 16000
    soundfile.write(path, 0.1 * np.sin(700 * time), 16000)


def read(source, **options):
    return {u.id: u for u in open_source(source, **options)}


def test_an_unknown_scheme_lists_the_known_ones():
    for bad in ("zip:x", "folder", "folder:", "x/y.wav"):
        with pytest.raises(InputError, match=r"folder:\.\.\., manifest:\.\.\., tfds:\.\.\."):
            open_source(bad)


def test_a_missing_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"absent: no such directory"):
        open_source(f"folder:{tmp_path}/absent")
    (tmp_path / "notes.md").write_text("no audio")
    with pytest.raises(InputError, match=f"{tmp_path}: no audio files"):
        read(f"folder:{tmp_path}")


def test_a_folder_is_walked_in_a_fixed_order_with_relative_ids(tmp_path):
    for name in ("b/z.wav", "b/a.FLAC", "a.ogg", "ö/ü.wav", ".hidden/x.wav", "b/._a.flac"):
        put(tmp_path / name)
    assert list(read(f"folder:{tmp_path}")) == ["a.ogg", "b/a.FLAC", "b/z.wav", "ö/ü.wav"]


def test_transcripts_come_from_the_table_then_librispeech_then_the_sibling(tmp_path):
    for name in ("8/9/8-9-0001.flac", "8/9/8-9-0002.flac", "c.wav", "d.wav"):
        put(tmp_path / name)
    (tmp_path / "8/9/8-9.trans.txt").write_text("8-9-0001 FROM CHAPTER\n8-9-0002 SECOND\n")
    (tmp_path / "8/9/8-9-0001.txt").write_text("from sibling")
    (tmp_path / "c.txt").write_text("only\nsibling\n")
    (tmp_path / "transcripts.tsv").write_text("8/9/8-9-0002.flac\tfrom table\tdev\tana\n\n")
    found = read(f"folder:{tmp_path}")
    assert found["8/9/8-9-0001.flac"].text == "FROM CHAPTER"
    assert found["8/9/8-9-0001.flac"].speaker == "8"
    assert found["8/9/8-9-0002.flac"][3:6] == ("from table", "dev", "ana")
    assert found["c.wav"].text == "only sibling"
    assert found["d.wav"].text is None


def test_a_file_in_the_table_that_is_missing_still_comes(tmp_path):
    put(tmp_path / "a.wav")
    (tmp_path / "transcripts.tsv").write_text("gone.wav\thello\n")
    assert list(read(f"folder:{tmp_path}")) == ["a.wav", "gone.wav"]


@pytest.mark.parametrize("line", ["a.wav", "a\tb\tc\td\te", "\ttext", "../a.wav\tb", "/a.wav\tb"])
def test_a_bad_line_of_the_table_is_named(tmp_path, line):
    put(tmp_path / "a.wav")
    (tmp_path / "transcripts.tsv").write_text(f"a.wav\tfine\n{line}\n")
    with pytest.raises(InputError, match=r"transcripts.tsv:2: "):
        read(f"folder:{tmp_path}")


def test_text_that_is_not_utf8_is_named(tmp_path):
    put(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_bytes("été".encode("latin-1"))
    with pytest.raises(InputError, match=r"a.txt: not UTF-8"):
        read(f"folder:{tmp_path}")


@pytest.fixture
def listed(tmp_path):
    for name in ("x/a.wav", "x/b.wav"):
        put(tmp_path / "audio" / name)
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path}/audio\nx/a.wav\t8000\nx/b.wav\t8000\n")
    return path


def test_a_manifest_gives_its_files_and_its_stem_as_split(listed):
    found = read(f"manifest:{listed}")
    assert list(found) == ["x/a.wav", "x/b.wav"]
    assert {u.split for u in found.values()} == {"train"}
    assert {u.text for u in found.values()} == {None}
    assert len(load_audio(found["x/a.wav"].audio)) == 8000


def test_manifest_labels_come_from_words_else_from_letters(listed):
    listed.with_suffix(".ltr").write_text("H I | Y O U |\nO |\n")
    assert [u.text for u in read(f"manifest:{listed}").values()] == ["HI YOU", "O"]
    listed.with_suffix(".wrd").write_text("hi there\n\n")
    assert [u.text for u in read(f"manifest:{listed}").values()] == ["hi there", ""]


def test_a_relative_root_starts_at_the_manifest(listed):
    listed.write_text("audio\nx/a.wav\t8000\n")
    assert len(load_audio(read(f"manifest:{listed}")["x/a.wav"].audio)) == 8000


def test_labels_that_do_not_match_the_manifest_are_refused(listed):
    listed.with_suffix(".wrd").write_text("one\n")
    with pytest.raises(InputError, match=r"train.wrd: 1 lines of labels for 2 files"):
        read(f"manifest:{listed}")


@pytest.mark.parametrize("path", ["../secret.wav", "x/../../secret.wav", "/etc/secret.wav"])
def test_a_path_that_leaves_the_root_is_refused(listed, path):
    listed.write_text(f"{listed.parent}/audio\n{path}\t8000\n")
    with pytest.raises(InputError, match=r"train.tsv:2: .* outside the root"):
        read(f"manifest:{listed}")


def test_bad_manifests_are_named(listed):
    with pytest.raises(InputError, match="no such file"):
        read(f"manifest:{listed}.absent")
    listed.write_text("/root\n")
    with pytest.raises(InputError, match="empty manifest"):
        read(f"manifest:{listed}")
    for line in ("x/a.wav 8000", "x/a.wav\t-1", f"x/a.wav\t{5000 * '9'}"):
        listed.write_text(f"/root\n{line}\n")
        with pytest.raises(InputError, match=r"train.tsv:2: expected path<TAB>frames"):
            read(f"manifest:{listed}")


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """A tiny TFDS corpus `tiny_speech` with two splits, prepared without network."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinySpeech(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "speech": tfds.features.Audio(sample_rate=8000),
                "text": tfds.features.Text(),
                "speaker_id": np.int64,
                "id": np.str_,
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {"train_clean": self._generate_examples(3), "dev": self._generate_examples(2)}

        def _generate_examples(self, count):
            for k in range(count):
                speech = np.arange(8000 + k, dtype=np.int64) % 1000
                yield k, {"speech": speech, "text": f"né {k}", "speaker_id": k, "id": f"u-{k}"}

    where = str(tmp_path_factory.mktemp("tfds"))
    config = tfds.download.DownloadConfig(num_shards=2)
    TinySpeech(data_dir=where).download_and_prepare(download_config=config)
    return where


def test_tfds_finds_the_audio_the_text_the_speaker_and_the_id(tfds_dir):
    found = list(open_source("tfds:tiny_speech:train_clean", tfds_data_dir=tfds_dir))
    assert [u.id for u in found] == ["u-0", "u-1", "u-2"]
    assert found[1][2:6] == (8000, "né 1", "train_clean", "1")
    np.testing.assert_array_equal(found[1].audio, np.arange(8001) % 1000)


def test_tfds_without_a_split_gives_all_and_a_slice_keeps_the_name(tfds_dir):
    splits = [u.split for u in open_source("tfds:tiny_speech", tfds_data_dir=tfds_dir)]
    assert splits == ["dev"] * 2 + ["train_clean"] * 3
    sliced = open_source("tfds:tiny_speech:1.0.0:train_clean[:2]", tfds_data_dir=tfds_dir)
    assert [u.split for u in sliced] == ["train_clean"] * 2


@pytest.mark.parametrize("split", ["", ":train_clean[1:]"])
def test_the_parts_of_a_tfds_corpus_are_its_record_files_in_order(tfds_dir, tmp_path, split):
    where = f"tfds:tiny_speech{split}"
    cut = list(work_units.parts(where, tfds_data_dir=tfds_dir))
    assert len(cut) == (2 if split else 4)
    for part in cut:
        work_units.save(part, tmp_path / "part.json")
        assert work_units.load(tmp_path / "part.json") == part
    found = [u for part in cut for u in work_units.read(part, None)]
    whole = list(open_source(where, tfds_data_dir=tfds_dir))
    assert [u._replace(audio=None) for u in found] == [u._replace(audio=None) for u in whole]
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one.audio, other.audio)
    assert [u.id for u in work_units.read(cut[-1], frozenset({"u-2"}))] == ["u-2"]
    hashes = {work_units.content_hash(part, salt) for part in cut for salt in "ab"}
    assert len(hashes) == 2 * len(cut)


def test_tfds_errors_name_what_is_known(tfds_dir):
    with pytest.raises(InputError, match=r"no split test; use dev, train_clean"):
        open_source("tfds:tiny_speech:test", tfds_data_dir=tfds_dir)
    with pytest.raises(InputError, match="tfds:no_such_corpus"):
        open_source("tfds:no_such_corpus", tfds_data_dir=tfds_dir)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("librispeeech/default:2.1.1:train", "TMP; did you mean librispeech?"),
        ("nothing", "has no data set nothing, and neither has TMP; give --tfds-data-dir of"),
    ],
)
def test_a_name_that_tfds_does_not_know_is_told_before_tensorflow_is_loaded(tmp_path, name, told):
    pytest.importorskip("tensorflow_datasets")
    code = (
        "import sys; from w2v2_jax import __main__ as w2v2; "
        "status = w2v2.main(sys.argv[1:]); print('tensorflow' in sys.modules); sys.exit(status)"
    )
    line = ["prepare", "--source", f"tfds:{name}", "--out", f"{tmp_path}/out"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *line],
        capture_output=True, text=True, env={**os.environ, "TFDS_DATA_DIR": str(tmp_path)},
    )  # fmt: skip
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert told.replace("TMP", str(tmp_path)) in ran.stderr
    assert ran.stdout == "False\n"


def test_only_a_name_of_which_nothing_is_there_is_refused_at_once(tmp_path):
    library = pytest.importorskip("tensorflow_datasets")
    (tmp_path / "mine").mkdir()
    for name in ("mine", "mine/config:1.0.0", "librispeech", "CamelCase"):
        source_tfds.check_name(library, name, str(tmp_path))
    source_tfds.check_name(library, "nothing", "gs://bucket/sets")
    with pytest.raises(InputError, match="no data set nothing"):
        source_tfds.check_name(library, "nothing", str(tmp_path))


def test_a_tfds_corpus_that_cannot_be_downloaded_is_one_line(tfds_dir, monkeypatch):
    import tensorflow_datasets

    def download(*_, **__):
        raise ConnectionError("no route to host\nand much advice")

    class Absent:
        info = tensorflow_datasets.builder("tiny_speech", data_dir=tfds_dir).info
        data_dir = "/nowhere"
        is_prepared = staticmethod(lambda: False)
        download_and_prepare = staticmethod(download)

    monkeypatch.setattr(tensorflow_datasets, "builder", lambda *_, **__: Absent)
    monkeypatch.setattr(source_tfds, "_names_resolve", lambda: False)
    with pytest.raises(InputError, match=r"tfds:x: cannot be .*ConnectionError: no route to host$"):
        open_source("tfds:x")


@pytest.mark.parametrize("ending", ["flac", "wav", "ogg", "mp3"])
def test_tfds_builds_a_corpus_of_audio_files_without_pydub_and_ffmpeg(
    ending, tmp_path, monkeypatch
):
    tfds = pytest.importorskip("tensorflow_datasets")
    samples = (8000 * np.sin(np.arange(8000) / 9)).astype(np.int16)
    soundfile.write(tmp_path / f"a.{ending}", samples, 16000)

    class OfFiles(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        name = f"of_files_{ending}"

        def _info(self):
            audio = tfds.features.Audio(file_format=ending, sample_rate=16000)
            features = tfds.features.FeaturesDict({"speech": audio})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"speech": str(tmp_path / f"a.{ending}")}

    monkeypatch.setitem(sys.modules, "pydub", None)
    monkeypatch.setattr(source_tfds, "check_name", lambda *_: None)
    (row,) = open_source(f"tfds:of_files_{ending}", tfds_data_dir=str(tmp_path / "sets"))
    assert row.rate == 16000 and len(row.audio) == pytest.approx(8000, abs=2500)
    if ending in ("flac", "wav"):
        np.testing.assert_array_equal(row.audio, samples)
    else:
        assert 6000 < np.abs(row.audio).max() < 10000
