"""Evaluation of several splits, its JSON, its page, and comparing two of them."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from w2v2_jax import compare, evaluate
from w2v2_jax.bench import long_recording
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.decode.alignment import Word
from w2v2_jax.errors import run_command
from w2v2_jax.evaluation.document import POLICY
from w2v2_jax.evaluation.significance import Comparison
from w2v2_jax.inference import Model
from w2v2_jax.recognition.long_audio import chunks, make_grid
from w2v2_jax.recognition.options import make_options
from w2v2_jax.recognition.transcript import Result


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    for name in ("dev", "test"):
        write_split(directory, name)
    return directory


@pytest.fixture
def model(tuned, monkeypatch):
    """Guesses that leave out the first letter, and never run the network."""
    found = Model(path=tuned.path, description=tuned.description, params={})
    monkeypatch.setattr("w2v2_jax.inference.load", lambda path, execution: found)
    monkeypatch.setattr(
        "w2v2_jax.recognition.corpus.transcripts",
        lambda model, corpus, **_: [t.upper()[1:] for t in corpus.texts()],
    )
    return found


def run(command, *arguments):
    return run_command(command.main, [str(a) for a in arguments])


HEAD = ("checkpoint", "step", "decoder")  # of the whole result


def test_a_result_of_another_split_or_decoder_is_replaced_with_a_word(
    model, corpus, tmp_path, capsys
):
    """The old rates were gone without a word."""
    command = ["--checkpoint", "x", "--json", tmp_path / "x.json", "--data"]
    assert run(evaluate, *command, f"{corpus}:dev") == 0
    assert run(evaluate, *command, f"{corpus}:dev") == 0
    assert "replaced" not in capsys.readouterr().err
    beam = [f"{corpus}:test", "--beam=3", "--decoder", "beam"]
    for other, what in (([f"{corpus}:test"], f"data {corpus}:dev"), (beam, "another decoder (")):
        assert run(evaluate, *command, *other) == 0
        told = capsys.readouterr().err
        assert f"x.json has a result of {what}" in told and "it will be replaced" in told
    assert json.loads((tmp_path / "x.json").read_text())["decoder"]["decoder"] == "beam"


def test_one_split_keeps_its_flat_result_and_several_are_kept_apart(
    model, corpus, tmp_path, capsys
):
    one, both = tmp_path / "one.json", tmp_path / "both.json"
    assert run(evaluate, "--checkpoint", "x", "--data", f"{corpus}:dev", "--json", one) == 0
    assert run(evaluate, "--checkpoint", "x", "--data", f"{corpus}:dev+test", "--json", both) == 0
    assert f"{corpus}:test\nWER " in capsys.readouterr().out
    flat = json.loads(one.read_text())
    splits = json.loads(both.read_text())["splits"]
    assert json.loads(both.read_text())["data"] == [f"{corpus}:dev", f"{corpus}:test"]
    assert [s["data"] for s in splits] == [f"{corpus}:dev", f"{corpus}:test"]
    assert splits[0] == {k: v for k, v in flat.items() if k not in HEAD}
    assert flat["word_errors"] == {
        "substitutions": 2, "insertions": 0, "deletions": 2, "reference_length": 11,
    }  # fmt: skip
    assert flat["wer"] == 4 / 11 and flat["utterances"][0]["speaker"] == "speaker0"
    assert flat["confusions"]["substitutions"] == [["AB", "B", 1], ["CAB", "AB", 1]]
    assert sum(b["utterances"] for b in flat["by_length"]) == 4


def test_phones_are_folded_before_they_are_scored(model, tmp_path, capsys, monkeypatch):
    write_split(tmp_path, "timit", texts=("sh ix q h#", "ao tcl t zh"))
    monkeypatch.setattr(
        "w2v2_jax.recognition.corpus.transcripts", lambda *_, **__: ["SH IH PAU", "AA EPI T SH AA"]
    )
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    arguments = ["--checkpoint", "x", "--data", f"{tmp_path}:timit", "--json", out]
    assert run(evaluate, *arguments, "--phones", "timit", "--html", page) == 0
    result = json.loads(out.read_text())
    assert result["per"] == 1 / 7 and result["unit"] == "phone"
    assert result["confusions"]["insertions"] == [["aa", 1]]
    assert "PER by length" in page.read_text()
    assert "PER 14.29 %" in capsys.readouterr().out


def test_an_utterance_without_a_frame_counts_as_deleted_and_is_told(
    tuned, tmp_path, capsys, monkeypatch
):
    """It ended the evaluation of all others."""
    found = Model(path=tuned.path, description=tuned.description, params=tuned.params)
    monkeypatch.setattr("w2v2_jax.inference.load", lambda path, execution: found)
    write_split(tmp_path, "dev", texts=("A B A",), seconds=1 / 1600)
    out, page = tmp_path / "x.json", tmp_path / "x.html"
    command = ["--checkpoint", "x", "--json", out, "--html", page, "--data", f"{tmp_path}:dev"]
    assert run(evaluate, *command) == 0
    told = capsys.readouterr()
    assert f"warning: --data {tmp_path}:dev: 1 utterance with too few samples" in told.err
    assert "such as dev/u0; all of the reference counts as deleted" in told.err
    assert "1 utterance, 3 words; 1 too short for one frame, counted as deleted" in told.out
    result = json.loads(out.read_text())
    assert (result["without_frames"], result["wer"], result["word_errors"]["deletions"]) == (
        1,
        1,
        3,
    )
    assert result["utterances"][0]["hypothesis"] == ""
    assert "1 too short for one frame: the whole reference" in page.read_text()


def test_the_page_holds_everything_and_asks_for_nothing(model, corpus, tmp_path):
    page = tmp_path / "deep" / "page.html"
    arguments = ["--checkpoint", "x", "--json", tmp_path / "x.json", "--html", page]
    assert run(evaluate, *arguments, "--data", f"{corpus}:dev", "--data", f"{corpus}:test") == 0
    text = page.read_text()
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    sources = re.findall(r'(?:src|href)="([^"]{22})', text)
    assert sources == ["data:audio/flac;base64"] * 8  # the worst four of two splits
    assert POLICY in text and "&lt;B&gt;" in text and "<B>" not in text
    assert text.count("<svg") == 6 and 'class="pair sub"' in text and 'class="pair del"' in text


def test_bad_data_is_one_clear_line(model, corpus, tmp_path, capsys):
    write_split(tmp_path, "silent", texts=("", ""))
    arguments = ["--checkpoint", "x", "--json", tmp_path / "x.json", "--data"]
    for data, message in (
        (f"{tmp_path}:silent", "no transcripts to score against"),
        (f"{corpus}:dev+eval", "no split 'eval'"),
        (corpus, "more than one split"),
    ):
        assert run(evaluate, *arguments, data) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (("", ""), [], "no transcripts to score against"),
        (("AB", "C"), ["--lm", "none.arpa"], "--lm none.arpa: no such file"),
        (("AB", "C"), ["--lexicon", "none.txt"], "--lexicon none.txt: no such file"),
        (("AB", "C"), ["--rescore", "none"], "--rescore none: there is no such folder"),
        (("AB", "C"), ["--beam", "9"], "--beam changes nothing in greedy decoding"),
        (("AB", "C"), ["--batch-seconds", "0"], "--batch-seconds: 0 must be a number"),
    ],
)
def test_what_cannot_be_evaluated_is_told_before_jax_and_the_network_are_loaded(
    tmp_path, texts, options, message
):
    write_split(tmp_path, "test", texts=texts)
    arguments = ["--checkpoint", "x", "--data", f"{tmp_path}:test", "--json", f"{tmp_path}/x.json"]
    code = (
        "import sys; from w2v2_jax import __main__ as w2v2; "
        "status = w2v2.main(sys.argv[1:]); sys.exit(99 if 'jax' in sys.modules else status)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "evaluate", *arguments, *options],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 2 and message in ran.stderr and ran.stderr.count("\n") == 1


@pytest.fixture
def results(model, corpus, tmp_path, monkeypatch):
    """Two systems on both splits: one without the first letters, one without errors."""
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    for path, cut in zip(paths, (1, 0), strict=True):
        monkeypatch.setattr(
            "w2v2_jax.recognition.corpus.transcripts",
            lambda m, c, n=cut, **_: [t.upper()[n:] for t in c.texts()],
        )
        data = ["--data", f"{corpus}:test", "--data", f"{corpus}:dev"]
        assert run(evaluate, "--checkpoint", "x", *data, "--json", path) == 0
    return paths


def test_two_results_are_compared_split_by_split(results, tmp_path, capsys):
    out = tmp_path / "compared.json"
    capsys.readouterr()
    assert run(compare, *results, "--json", out) == 0
    splits = json.loads(out.read_text())["splits"]
    assert len(splits) == 2 and splits[0]["wer"]["first"] == 4 / 11
    assert splits[0]["wer"]["difference"] == -4 / 11 and splits[0]["wer"]["second_better"] == 1
    assert splits[0]["cer"]["p_permutation"] == pytest.approx(1 / 8, abs=0.02)
    assert "WER 36.36 % -> 0.00 %: -36.36 points" in capsys.readouterr().out
    assert run(compare, *results, "--speakers") == 0
    assert "p 0.5" in capsys.readouterr().out  # two speakers: four exchanges, two as large


@pytest.mark.parametrize(
    ("p", "told"), [(3e-9, "< .0001"), (0.0, "< .0001"), (0.0001, "0.0001"), (1.0, "1.0000")]
)
def test_a_probability_too_small_for_its_digits_is_not_told_as_none(p, told):
    line = compare.describe("wer", Comparison(0.5, 0.4, -0.1, (-0.2, 0.0), 0.97, 0.5, p))
    assert line.endswith(f"p 0.5000 (permutation), {told} (matched pairs)")


def test_results_of_other_utterances_are_not_compared(results, tmp_path, capsys):
    content = json.loads(results[1].read_text())
    for split in content["splits"]:
        split["utterances"] = split["utterances"][:3]
    results[1].write_text(json.dumps(content))
    assert run(compare, *results) == 2
    assert "nearest shares 3 ids" in capsys.readouterr().err
    results[1].write_text("[]")
    assert run(compare, *results) == 2
    assert "not a result of evaluate" in capsys.readouterr().err


def test_a_long_recordings_words_are_counted_against_each_utterance_alone():
    second = long_recording.SAMPLE_RATE
    places = [(0, 0, 4 * second), (1, 5 * second, 9 * second), (0, 10 * second, 14 * second)]
    words = [Word("A", 1, 2, 1.0), Word("B", 3, 4, 1.0), Word("X", 6, 7, 1.0), Word("A", 11, 12, 1)]
    result = Result("recording", "", words, [], 15.0)
    heard = long_recording.heard_of(result, places)
    assert heard == [["A", "B"], ["X"], ["A"]]
    found = long_recording.differences(heard, places, ["A B", "C"], np.array([7.0]))
    assert found["all"]["utterances"] == 3
    assert found["all"]["words"] == {"of": 5, "different": 2}
    assert found["all"]["letters"] == {"of": 7, "different": 3}  # X for C, and " B" is missing
    assert found["away_from_seams"]["words"]["different"] == 1  # the last utterance's B
    assert long_recording.letter_error_rate(["A B"], ["A C"]) == pytest.approx(1 / 3)


def test_a_recording_is_filled_with_the_corpus_and_its_seams_are_where_chunks_meet(corpus, tuned):
    split = open_corpus(f"{corpus}:dev")
    places = long_recording.placed(split, 0.002)
    assert [i for i, _, _ in places[:5]] == [0, 1, 2, 3, 0]
    samples = sum(len(block) for block in long_recording.blocks(split, places))
    assert samples == places[-1][2] + long_recording.PAUSE >= 0.002 * 3600 * 16000
    model = Model(path=tuned.path, description=tuned.description, params={})
    options = make_options({"chunk_seconds": 0.5, "context_seconds": 0.1})
    edges = long_recording.seams(model, options, samples)
    grid = make_grid(tuned.description.model.conv_layers, chunk_samples=8000, context_samples=1600)
    met = np.cumsum([c.last - c.first for c in chunks(long_recording.blocks(split, places), grid)])
    np.testing.assert_allclose(edges[: len(met) - 1], met[:-1] * 20 / 16000)


def test_two_utterances_of_one_id_are_not_compared(results, capsys):
    content = json.loads(results[0].read_text())
    content["splits"][0]["utterances"].append(content["splits"][0]["utterances"][0])
    results[0].write_text(json.dumps(content))
    capsys.readouterr()
    assert run(compare, *results) == 2
    assert "2 utterances have one id" in capsys.readouterr().err
