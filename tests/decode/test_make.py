"""Decoders from settings, lexicons, saved logits, and greedy search over every alignment."""

import argparse
import dataclasses
import itertools
import json
import math
import pickle
import types

import numpy as np
import pytest

from tests.helpers.decode_cases import VOCABULARY, logits_of
from w2v2_jax.decode import command, emissions, options
from w2v2_jax.decode.beam import BeamOptions, LexiconFreeDecoder
from w2v2_jax.decode.greedy import GreedyDecoder
from w2v2_jax.decode.lexicon import read_lexicon, spell, write_lexicon
from w2v2_jax.decode.make import make, read_settings, save_settings, settings
from w2v2_jax.decode.many import decode_many
from w2v2_jax.decode.presets import PRESETS
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.texts.rules import TextRules


def parse(*given):
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    return parser.parse_args(given)


def test_greedy_takes_the_likeliest_of_all_alignments():
    symbols = ("<s>", "|", "A", "B")
    decoder = GreedyDecoder(symbols)
    for seed in range(5):
        logits = np.random.default_rng(seed).normal(size=(5, 4)).astype(np.float32)
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        paths = itertools.product(range(4), repeat=5)
        best = max(paths, key=lambda path: sum(log_probs[range(5), path]))
        (found,) = decoder(logits)
        joined = "".join(symbols[k] for k, _ in itertools.groupby(best) if k)
        assert found.tokens.tolist() == list(best)
        assert found.text == " ".join(joined.replace("|", " ").split())
        assert found.score == pytest.approx(sum(log_probs[range(5), best]), rel=1e-5)


def test_a_decoder_survives_the_way_to_another_process():
    for decoder in (GreedyDecoder(VOCABULARY.symbols), LexiconFreeDecoder(("<s>", "|"), None,
                    BeamOptions(beam=7))):  # fmt: skip
        assert pickle.loads(pickle.dumps(decoder)) == decoder


def test_many_utterances_keep_their_order_and_are_read_as_they_are_needed():
    rng, read = np.random.default_rng(0), []

    def rows():
        for text in ("AB", "C", "DE FA"):
            read.append(text)
            yield logits_of(text, rng, noise=0.0)

    found = decode_many(make(settings({}), VOCABULARY), rows())
    assert next(found)[0].text == "AB" and read == ["AB"]
    assert [h[0].text for h in found] == ["C", "DE FA"]


def test_what_is_given_wins_over_the_file_over_the_preset_over_the_defaults(tmp_path):
    path = tmp_path / "best.json"
    save_settings(path, {"word_score": 0.5, "unknown_score": -math.inf}, dev_wer=0.1)
    found = settings({"beam": 9, "lm": None}, preset_name="base_10h", file=str(path)).beam
    assert (found.beam, found.word_score, found.lm_weight) == (9, 0.5, 2.46)
    assert (found.unknown_score, found.nbest) == (-math.inf, 1)


def test_the_presets_are_tables_7_and_8_of_the_paper():
    assert len(PRESETS) == 30
    assert PRESETS["base_10m"] == {"lm_weight": 3.23, "word_score": -0.26, "beam": 1500}
    assert PRESETS["large_960h"] == {"lm_weight": 1.74, "word_score": 0.52, "beam": 1500}
    assert PRESETS["lv60k_1h"] == {"lm_weight": 3.09, "word_score": -2.33, "beam": 1500}
    transformer = PRESETS["lv60k_10m_transformer"]
    assert (transformer["rescore_weight"], transformer["rescore_word_score"]) == (1.47, -2.82)
    for name in PRESETS:
        settings({}, preset_name=name)


def test_without_options_decoding_is_greedy_and_a_model_implies_beam_search():
    assert options.read_arguments(parse()).kind == "greedy"
    found = options.read_arguments(
        parse("--lm", "a.bin", "--hot-word", "ZOE", "--hot-word", "ANN=2.5", "--log-add")
    )
    assert (found.kind, found.lm, found.beam.log_add) == ("beam", "a.bin", True)
    assert found.hot_words == (("ZOE", options.HOT_BONUS), ("ANN", 2.5))
    assert options.read_arguments(parse("--decoder", "beam")).kind == "beam"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--decoder", "greedy", "--lm", "x"], "--decoder greedy takes no --lm"),
        (["--decoder-preset", "base_2h"], "'base_2h' is unknown; use one of base_10m"),
        (["--decoder-settings", "none.json"], "none.json: not what `sweep` writes"),
        (["--lm-weight", "3"], "--lm-weight changes nothing without --lm or --hot-word"),
        (["--beam", "9"], "--beam changes nothing in greedy decoding; add --decoder beam, --lm or"),
        (["--beam-threshold", "9"], "--beam-threshold changes nothing in greedy decoding"),
        (["--word-score", "1"], "--word-score changes nothing in greedy decoding"),
        (["--silence-score", "0"], "--silence-score changes nothing in greedy decoding"),
        (["--nbest", "3"], "--nbest changes nothing in greedy decoding"),
        (["--log-add"], "--log-add changes nothing in greedy decoding"),
        (["--end-word", "--decoder", "greedy"], "--end-word changes nothing in greedy decoding"),
        (["--lm", "x", "--rescore-weight", "2"], "--rescore-weight changes nothing without --resc"),
        (["--rescore-case", "upper"], "--rescore-case changes nothing without --rescore"),
        (["--rescore", "x", "--rescore-ngram-weight", "1"], "changes nothing without --lm"),
        (["--decoder-preset", "base_10h"], "--decoder-preset base_10h changes nothing without --l"),
        (
            ["--lm", "x", "--decoder-preset", "base_10h_transformer"],
            "base_10h_transformer changes nothing more than base_10h without --rescore",
        ),
        (
            ["--lm", "x", "--word-score", "1e308"],
            r"word_score=1e\+308 must be from -1e\+06 to 1e\+06",
        ),
        (["--lm", "x", "--lm-weight=-1e7"], r"lm_weight=-10000000.0 must be from"),
        (["--lm", "x", "--unknown-score", "1e30"], "unknown_score=1e.30 must be from"),
        (["--rescore", "x", "--rescore-weight", "1e30"], "rescore_weight=1e.30 must be from"),
        (["--lm", "x", "--hot-word", "A=1e30"], "--hot-word A=1e.30 must be from"),
        (["--lm", "x", "--beam", "0"], "beam=0 must be at least 1"),
        (["--lm", "x", "--nbest", "60"], "nbest=60 is more than beam=50"),
        (["--lm", "x", "--beam", "1000000"], "beam=1000000 takes .*; use at most 10000"),
    ],
)
def test_options_that_contradict_are_one_clear_line(given, message):
    with pytest.raises(InputError, match=message):
        options.read_arguments(parse(*given))


@pytest.mark.parametrize(
    "given",
    [
        ["--lexicon", "x", "--decoder-preset", "base_10h"],  # a word score and a wider beam
        ["--rescore", "x", "--decoder-preset", "base_10h_transformer"],
        ["--decoder", "beam", "--log-add", "--decoder-preset", "base_10h"],
    ],
)
def test_a_preset_is_taken_wherever_one_of_its_settings_is_used(given):
    preset = PRESETS[given[-1]]
    assert options.read_arguments(parse(*given)).beam.beam == preset["beam"]


@pytest.mark.parametrize(
    "option", [["--word-score", "1"], ["--unknown-score", "-3"], ["--end-word"]]
)
def test_what_is_for_words_is_refused_where_there_are_none(option):
    with pytest.raises(InputError, match=f"{option[0]} changes nothing without words"):
        options.make_decoder(parse("--decoder", "beam", *option), VOCABULARY)
    options.make_decoder(parse("--decoder", "beam", "--silence-score", "1"), VOCABULARY)


def test_bounds_that_stand_for_none_and_all_may_be_as_far_as_any_number():
    found = BeamOptions(unknown_score=-1e308, beam_threshold=1e308)
    assert make(settings({"kind": "beam"}), VOCABULARY).with_options(found)


def test_a_bonus_over_a_tiny_weight_is_refused(tmp_path):
    write_lexicon(tmp_path / "lexicon.txt", [("AB", ("A", "B", "|"))])
    given = ["--hot-word", "AB=5", "--lm-weight", "1e-300", "--lexicon", f"{tmp_path}/lexicon.txt"]
    with pytest.raises(InputError, match="need a larger lm_weight than 1e-300"):
        options.make_decoder(parse(*given), VOCABULARY)


def test_more_hypotheses_are_for_those_who_see_them(tmp_path, capsys):
    saved(tmp_path / "logits")
    given = ["--logits", str(tmp_path / "logits"), "--decoder", "beam", "--nbest", "3"]
    assert run_command(command.main, given) == 2
    assert "--nbest changes nothing without --json or --rescore" in capsys.readouterr().err
    assert run_command(command.main, [*given, "--json", str(tmp_path / "o.json")]) == 0
    assert len(json.loads((tmp_path / "o.json").read_text())["utterances"][0]["nbest"]) == 3
    with pytest.raises(InputError, match="--nbest changes nothing without --rescore"):
        options.check_ahead(parse("--decoder", "beam", "--nbest", "3"))


def test_an_unknown_setting_in_a_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"settings": {"lm_wieght": 2}}))
    with pytest.raises(InputError, match=r"a\.json: unknown settings lm_wieght"):
        read_settings(str(tmp_path / "a.json"))


def test_a_lexicon_comes_back_as_it_was_written(tmp_path):
    entries, unknown = spell(["AB", "C", "XY", "A|"], VOCABULARY)
    assert entries == [("AB", ("A", "B", "|")), ("C", ("C", "|"))] and unknown == ["XY", "A|"]
    write_lexicon(tmp_path / "lexicon.txt", entries)
    assert read_lexicon(tmp_path / "lexicon.txt", VOCABULARY.symbols) == entries


def test_an_entry_that_a_lexicon_has_twice_is_one_entry(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("AB\tA B |\nAB\tA B\nAB A B |\nC\tC |\nAB\tA B |\n")
    spellings = [("AB", ("A", "B", "|")), ("AB", ("A", "B")), ("C", ("C", "|"))]
    assert read_lexicon(path, VOCABULARY.symbols) == spellings


def test_words_that_text_rules_make_equal_are_one_entry(tmp_path):
    ruled = dataclasses.replace(VOCABULARY, rules=TextRules(name="x", case="upper"))
    path = tmp_path / "lexicon.txt"
    chosen = settings({"lexicon": str(path), "beam": 2, "nbest": 2, "engine": "numpy"})
    logits = logits_of("AB C", np.random.default_rng(2), noise=3.0)
    found = []
    for lines in ("AB\tA B |\nC\tC |\n", "AB\tA B |\nAb\tA B |\nC\tC |\nc\tC |\n"):
        path.write_text(lines)
        found.append([(one.text, one.score) for one in make(chosen, ruled)(logits)])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("AB\tA B |\n\nXA\tX A |\n", "line 3: 'XA' is spelled with X, which the model lacks"),
        ("AB\n", "line 1: 'AB' has no spelling"),
        ("<unk>\tA |\n", "line 1: <unk> is reserved"),
        ("\n", "an empty lexicon"),
        (None, "lexicon.txt: no such file"),
    ],
)
def test_lexicons_that_do_not_fit_name_the_line(content, message, tmp_path):
    path = tmp_path / "lexicon.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_lexicon(path, VOCABULARY.symbols)


def saved(folder, *, texts=("AB C", "D"), references=True, dtype="float32"):
    rng = np.random.default_rng(0)
    rows = [logits_of(text, rng, noise=0.5) for text in texts]
    emissions.write(
        folder,
        [
            emissions.Utterance(f"u{n}", row, text if references else None)
            for n, (text, row) in enumerate(zip(texts, rows, strict=True))
        ],
        vocabulary=VOCABULARY, num_frames=sum(map(len, rows)), seconds_per_frame=0.02, dtype=dtype,
    )  # fmt: skip
    return rows


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 0.01)])
def test_saved_logits_come_back(dtype, error, tmp_path):
    rows = saved(tmp_path / "logits", dtype=dtype)
    found = emissions.Emissions(tmp_path / "logits")
    assert (found.ids, found.references) == (["u0", "u1"], ["AB C", "D"])
    assert found.vocabulary == VOCABULARY and len(found) == 2
    for n, row in enumerate(rows):
        np.testing.assert_allclose(found[n], row, atol=error)
    assert pickle.loads(pickle.dumps(found)).ids == found.ids


def test_saved_logits_are_read_in_the_order_of_the_corpus_not_of_their_computation(tmp_path):
    """Intervals draw utterances by number, so that `decode` has those of `evaluate`."""
    rng = np.random.default_rng(0)
    rows = [logits_of(text, rng, noise=0.5) for text in ("AB C", "D", "AB")]
    made = [
        emissions.Utterance(f"u{place}", rows[place], f"{'ABC'[place]}", place)
        for place in (1, 2, 0)
    ]
    emissions.write(
        tmp_path / "logits", made, vocabulary=VOCABULARY, num_frames=sum(map(len, rows)),
        seconds_per_frame=0.02,
    )  # fmt: skip
    found = emissions.Emissions(tmp_path / "logits")
    assert (found.ids, found.references) == (["u0", "u1", "u2"], ["A", "B", "C"])
    assert found.num_frames.tolist() == list(map(len, rows))
    for n, row in enumerate(rows):
        np.testing.assert_array_equal(found[n], row)


def test_saved_logits_are_decoded_and_scored(tmp_path, capsys):
    saved(tmp_path / "logits")
    command.main(["--logits", str(tmp_path / "logits"), "--json", str(tmp_path / "o.json")])
    assert "WER 0.00 %" in capsys.readouterr().out
    first = json.loads((tmp_path / "o.json").read_text())["utterances"][0]
    assert (first["id"], first["reference"], first["nbest"][0]["text"]) == ("u0", "AB C", "AB C")
    saved(tmp_path / "bare", references=False)
    command.main(["--logits", str(tmp_path / "bare")])
    assert capsys.readouterr().out == "u0\tAB C\nu1\tD\n"


def test_saved_logits_that_are_not_whole_or_would_be_overwritten_are_refused(tmp_path, capsys):
    saved(tmp_path / "logits")
    with pytest.raises(InputError, match="holds saved logits already"):
        saved(tmp_path / "logits")
    (tmp_path / "logits" / emissions.DESCRIPTION).unlink()
    assert run_command(command.main, ["--logits", str(tmp_path / "logits")]) == 2
    assert "no saved logits (`w2v2 emit` makes them)" in capsys.readouterr().err


class Shuffled:
    """A model that hands out logits by length, and the corpus whose audio is each row's number."""

    texts = ("ABC", "A", "DE FAB", "B")
    num_samples = np.array([4, 2, 6, 3])
    # A frame for each sample.
    description = types.SimpleNamespace(model=types.SimpleNamespace(output_layers=((1, 1, 1),)))

    def __len__(self):
        return len(self.texts)

    def read(self, number, start, length):
        return np.full(length, number, np.int16)

    def verify(self, number):
        return True

    def logits(self, waveforms, num_samples):
        raise AssertionError("batched gives the logits here")


def batched(network, apply, waveforms, *, batch_seconds):
    """Stands for `recognition.batches.batched`."""
    assert apply == network.logits
    rng = np.random.default_rng(0)
    for n in sorted(range(len(waveforms)), key=lambda n: len(waveforms[n])):
        number = round(float(waveforms[n][0]) * 32768)
        yield n, logits_of(network.texts[number], rng, noise=0.0)


def test_evaluation_brings_transcripts_into_the_corpus_order(monkeypatch):
    from w2v2_jax.recognition import corpus
    from w2v2_jax.recognition.corpus import transcripts

    monkeypatch.setattr(corpus, "CHUNK", 3)
    monkeypatch.setattr(corpus, "batched", batched)
    both = Shuffled()
    decoder = make(settings({}), VOCABULARY)
    found = transcripts(both, both, batch_seconds=1.0, decoder=decoder)
    assert found == list(Shuffled.texts)


def test_what_a_sweep_may_write_is_read_and_other_kinds_of_values_are_not(tmp_path):
    values = {
        "kind": "beam", "lm": "lm.arpa", "lexicon": None, "beam": 50, "beam_tokens": None,
        "lm_weight": 2, "word_score": -1.5, "log_add": True, "rescore_case": "upper",
    }  # fmt: skip
    save_settings(tmp_path / "best.json", values, wer=0.5)
    assert read_settings(str(tmp_path / "best.json")) == values
    save_settings(tmp_path / "odd.json", {"beam": [50]})
    with pytest.raises(InputError, match=r"odd\.json: beam=\[50\] must be int"):
        read_settings(str(tmp_path / "odd.json"))
