"""A classifier from a prepared corpus to `w2v2 classify` and a Hugging Face folder."""

import json
import wave

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from tests.helpers.interop_cases import random_checkpoint
from tests.helpers.places import ROOT
from tests.helpers.train_runs import options, records, use_one_device
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.inference import classify, load
from w2v2_jax.interop import hugging_face, native
from w2v2_jax.objectives.classes import Classes
from w2v2_jax.objectives.classification import Classification
from w2v2_jax.train import command as train

LABELS = ("no", "yes", "no", "yes")


@pytest.fixture(scope="module")
def classifier(tiny, tmp_path_factory):
    """A native checkpoint with random parameters."""
    made = random_checkpoint(
        tiny, parts=Classification.parts, vocabulary=Classes(("no", "yes")), objective="classify"
    )
    folder = tmp_path_factory.mktemp("classifier") / "native"
    native.write_initial(folder, made)
    return folder


def write_wav(path, seconds: float) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, int(16000 * seconds), np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())


def test_each_file_is_a_line_and_one_that_cannot_be_used_decides_the_status(
    classifier, tmp_path, capsys
):
    for name, seconds in (("a.wav", 0.4), ("b.wav", 0.2)):
        write_wav(tmp_path / name, seconds)
    (tmp_path / "c.wav").write_bytes(b"no sound")
    arguments = ["--checkpoint", str(classifier), str(tmp_path), "--json"]
    assert run_command(classify.main, arguments) == 2
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines] == [str(tmp_path / x) for x in ("a.wav", "b.wav")]
    for line in lines:
        assert set(line["scores"]) == {"no", "yes"}
        np.testing.assert_allclose(sum(line["scores"].values()), 1.0, rtol=1e-6)
        assert line["label"] == max(line["scores"], key=line["scores"].get)
    assert "c.wav" in err and "1 of 3 inputs" in err


def test_what_names_no_recording_is_told_and_the_others_are_classified(
    classifier, tmp_path, capsys
):
    write_wav(tmp_path / "a.wav", 0.4)
    (tmp_path / "none").mkdir()
    arguments = ["--checkpoint", str(classifier), f"{tmp_path}/none", f"{tmp_path}/a.wav"]
    assert run_command(classify.main, arguments) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path}/a.wav\t") and len(out.splitlines()) == 1
    assert f"{tmp_path}/none: no audio file" in err and "1 of 2 inputs" in err


def test_scores_that_are_no_numbers_name_the_recording_or_the_utterance(
    classifier, tmp_path, capsys, monkeypatch
):
    from w2v2_jax.recognition import classify as recognition

    right, files = recognition.class_logits, [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path, seconds in zip(files, (0.4, 0.2), strict=True):
        write_wav(path, seconds)

    def overflow(network, waveforms, num_samples):
        logits = right(network, waveforms, num_samples)
        return np.where(np.asarray(num_samples)[:, None] > 5000, np.nan, logits)

    monkeypatch.setattr(recognition, "class_logits", overflow)
    arguments = ["--checkpoint", str(classifier), *map(str, files)]
    assert run_command(classify.main, arguments) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"{files[1]}\t") and len(out.splitlines()) == 1
    assert err.startswith(f"error: {files[0]}: ")
    write_split(tmp_path, "test", texts=LABELS)
    arguments = ["--checkpoint", str(classifier), "--data", f"{tmp_path}:test"]
    assert run_command(classify.main, arguments) == 2
    out, err = capsys.readouterr()
    assert f"error: {tmp_path}/test: utterance test/u1: " in err and "finite" in err
    assert f"{tmp_path}:test: {4 - err.count(': utterance ')} utterance" in out


def test_a_recording_longer_than_one_row_is_refused_and_not_cut(classifier, tmp_path):
    write_wav(tmp_path / "long.wav", 61)
    with pytest.raises(InputError, match=r"long.wav: longer than 60 s"):
        load(classifier).classify(tmp_path / "long.wav")


def test_a_corpus_is_scored_and_its_other_texts_are_counted(classifier, tmp_path, capsys):
    write_split(tmp_path, "test", texts=(*LABELS, "maybe"))
    data, out = f"{tmp_path}:test", tmp_path / "scores.json"
    arguments = ["--checkpoint", str(classifier), "--data", data, "--json-out", str(out)]
    assert run_command(classify.main, arguments) == 0
    scores = json.loads(out.read_text())
    assert scores["utterances"] == 4 and scores["left_out"] == 1
    assert {name: x["utterances"] for name, x in scores["classes"].items()} == {"no": 2, "yes": 2}
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("limit", [0.5, 1.0])
def test_an_utterance_longer_than_one_row_is_named_and_the_others_are_scored(
    classifier, tmp_path, capsys, monkeypatch, limit
):
    """One of 61 s ended the scoring of its whole split."""
    from w2v2_jax.recognition import classify as recognition

    corpus = write_split(tmp_path, "test", texts=LABELS)
    monkeypatch.setattr(recognition, "WHOLE_SECONDS", limit)
    seconds = open_corpus(f"{tmp_path}:test").num_samples / 16000
    long = [f"test/u{i}" for i in np.flatnonzero(seconds > limit)]
    assert 0 < len(long) < 4, (corpus, seconds)
    out = tmp_path / "scores.json"
    arguments = ["--checkpoint", str(classifier), "--data", f"{tmp_path}:test"]
    assert run_command(classify.main, [*arguments, "--json-out", str(out)]) == 2
    scores = json.loads(out.read_text())
    assert scores["unusable"] == long and scores["utterances"] == 4 - len(long)
    printed = capsys.readouterr()
    assert f"test: {4 - len(long)} utterance" in printed.out and "accuracy" in printed.out
    for name in long:
        assert f"error: {tmp_path}/test: utterance {name}: longer than {limit} s" in printed.err
    assert printed.err.endswith(f"error: {len(long)} of 4 inputs cannot be used (see above)\n")


@pytest.mark.parametrize(
    ("data", "out", "message"),
    [
        ("silent", "x.json", "--data .*silent: none of its 2 utterances has a transcript"),
        ("missing", "x.json", "no split 'missing'"),
        ("test", "", "--json-out"),
    ],
)
def test_data_that_cannot_be_scored_is_told_before_the_network_is_loaded(
    tmp_path, data, out, message
):
    for name, texts in (("silent", ("", "")), ("test", LABELS)):
        write_split(tmp_path, name, texts=texts)
    arguments = ["--checkpoint", "nowhere", "--data", f"{tmp_path}:{data}"]
    with pytest.raises(InputError, match=message):
        classify.main([*arguments, "--json-out", f"{tmp_path}/{out}"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data", "x", "--top", "3"], "--top changes nothing with --data"),
        (["--data", "x", "--json"], "--json changes nothing with --data; .*--json-out"),
        (["a.wav", "--json", "--top", "2"], "--top changes nothing with --json"),
    ],
)
def test_an_option_that_changes_nothing_is_told_before_anything_is_read(given, message):
    with pytest.raises(InputError, match=message):
        classify.main(["--checkpoint", "nowhere", *given])


def test_another_kind_of_checkpoint_is_refused_with_the_remedy(tuned, tmp_path):
    native.write_initial(tmp_path / "ctc", tuned)
    write_wav(tmp_path / "a.wav", 0.3)
    with pytest.raises(InputError, match=r"is a ctc checkpoint; train one with .*classify"):
        classify.main(["--checkpoint", str(tmp_path / "ctc"), str(tmp_path / "a.wav")])


@pytest.mark.slow
def test_a_classifier_trains_validates_and_goes_to_hugging_face(tmp_path, monkeypatch):
    use_one_device(monkeypatch)
    for split in ("train", "dev"):
        write_split(tmp_path / "data", split, texts=LABELS)
    more = "--config.train.steps=2", "--config.model.d_model=16", "--config.model.layer_sum=true"
    run = options(tmp_path / "data", tmp_path / "run", *more)
    train.main(["--config", f"{ROOT}/experiments/classify.py:tuned,smoke", *run])
    (valid,) = records(tmp_path / "run", "valid")
    assert valid["utterances"] == 4 and {"loss", "accuracy", "macro_f1"} <= valid.keys()
    model = load(tmp_path / "run")
    assert model.description.vocabulary.symbols == ("no", "yes")
    hugging_face.save(checkpoint.load(tmp_path / "run"), tmp_path / "hf")
    waveform = 0.2 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    (ours,), (theirs,) = (x.classify(waveform) for x in (model, load(tmp_path / "hf")))
    assert ours.label in ("no", "yes")
    assert theirs.scores == pytest.approx(ours.scores, abs=1e-4)  # 1e-7 where 1e-5 is added
