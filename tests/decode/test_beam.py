"""Beam search against every alignment written out, against flashlight itself, and its edges."""

import dataclasses
import gzip
import itertools
import json
import pickle

import numpy as np
import pytest

from tests.helpers.decode_cases import VOCABULARY, flashlights_own, logits_of, sentences, words
from w2v2_jax import lm, sweep
from w2v2_jax.decode import command, emissions
from w2v2_jax.decode.beam import BeamOptions, LexiconDecoder, LexiconFreeDecoder
from w2v2_jax.decode.hypothesis import log_softmax
from w2v2_jax.decode.make import make, settings
from w2v2_jax.decode.many import decode_many
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.vocabulary import SPECIALS, Vocabulary

pytestmark = pytest.mark.decode

SYMBOLS = ("<s>", "|", "A", "B")
SPELLED = tuple((word, (*word, "|")) for word in ("A", "B", "AB", "BA"))
WIDE = BeamOptions(beam=5000, beam_threshold=1e6, lm_weight=0.7, word_score=0.3)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder with a model of words and one of letters, of two texts each."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "small.txt").write_text("A AB\nB\nAB BA A\nAB\n" * 3)
    lines = sentences(400, words(60), seed=1)
    (folder / "large.txt").write_text("".join(" ".join(line) + "\n" for line in lines))
    for name in ("small", "large"):
        for kind, options in (("words", []), ("letters", ["--characters"])):
            out = folder / f"{name}_{kind}.arpa"
            lm.main(["--text", str(folder / f"{name}.txt"), "--out", str(out), "--order", "3",
                     "--estimator", "own", "--discount-fallback", *options])  # fmt: skip
    return folder


def random_logits(frames, seed=0):
    return 1.5 * np.random.default_rng(seed).normal(size=(frames, len(SYMBOLS))).astype(np.float32)


def alignments(logits):
    """(symbols after joining repeats and dropping blanks, log probability) of all C^T paths.

    A search starts in silence, so a path's `|` from the first frame on only goes on with it.
    """
    log_probs = log_softmax(logits)
    for path in itertools.product(range(len(SYMBOLS)), repeat=len(logits)):
        joined = "".join(SYMBOLS[k] for k, _ in itertools.groupby((1, *path)) if k)[1:]
        yield joined, float(sum(log_probs[t, k] for t, k in enumerate(path)))


def by_score(scores):
    return sorted(scores.items(), key=lambda item: -item[1])


def check(found, expected, *, count=5):
    """Hypotheses have the texts and scores of the brute force, in its order."""
    assert [h.text for h in found[:count]] == [text for text, _ in expected[:count]]
    scores = [score for _, score in expected[:count]]
    np.testing.assert_allclose([h.score for h in found[:count]], scores, rtol=1e-4)


@pytest.mark.parametrize("log_add", [False, True])
def test_lexicon_free_search_finds_the_best_texts_of_all_alignments(log_add):
    join = np.logaddexp if log_add else max
    logits = random_logits(6)
    of_symbols = {}
    for symbols, score in alignments(logits):
        of_symbols[symbols] = join(of_symbols.get(symbols, -np.inf), score)
    expected = {}
    for symbols, score in by_score(of_symbols):
        expected.setdefault(" ".join(symbols.replace("|", " ").split()), score)
    options = dataclasses.replace(WIDE, log_add=log_add, nbest=5)
    check(LexiconFreeDecoder(SYMBOLS, None, options)(logits), by_score(expected))


def test_lexicon_free_search_weighs_alignments_by_the_model_of_letters(models):
    import kenlm

    model = kenlm.Model(str(models / "small_letters.arpa"))
    logits, expected = random_logits(6, seed=1), {}
    for symbols, score in alignments(logits):
        text = " ".join(symbols.replace("|", " ").split())
        score += WIDE.lm_weight * model.score(" ".join(symbols), bos=True, eos=True)
        expected[text] = max(expected.get(text, -np.inf), score)
    options = dataclasses.replace(WIDE, nbest=5)
    decoder = LexiconFreeDecoder(SYMBOLS, str(models / "small_letters.arpa"), options)
    check(decoder(logits), by_score(expected))


@pytest.mark.parametrize(("with_model", "bonus"), [(False, 0), (True, 0), (True, 2.5)])
def test_lexicon_search_finds_the_best_words_of_all_alignments(with_model, bonus, models):
    import kenlm

    path = str(models / "small_words.arpa")
    model = kenlm.Model(path)
    lexicon, logits, expected = {word for word, _ in SPELLED}, random_logits(6, seed=2), {}
    for symbols, score in alignments(logits):
        found = symbols.replace("|", " ").split()
        if not lexicon.issuperset(found) or not (symbols.endswith("|") or not symbols):
            continue
        text = " ".join(found)
        score += WIDE.word_score * len(found) + bonus * found.count("BA")
        score += WIDE.lm_weight * model.score(text, bos=True, eos=True) if with_model else 0.0
        expected[text] = max(expected.get(text, -np.inf), score)
    hot = (("BA", bonus),) if bonus else ()
    options = dataclasses.replace(WIDE, nbest=5)
    decoder = LexiconDecoder(SYMBOLS, path if with_model else None, SPELLED, options, hot)
    check(decoder(logits), by_score(expected))


def test_the_audios_end_may_end_a_word():
    logits = 6.0 * np.eye(4)[[2, 3]]  # no frame is left for a `|`
    plain = LexiconDecoder(SYMBOLS, None, SPELLED, WIDE)(logits)[0]
    ended = LexiconDecoder(SYMBOLS, None, SPELLED, dataclasses.replace(WIDE, end_word=True))
    assert plain.text != "AB" and ended(logits)[0].text == "AB"
    assert [(w.word, w.start, w.end) for w in ended(logits)[0].words] == [("AB", 0.0, 0.04)]
    assert ended(logits)[0].tokens.tolist() == [2, 3]
    spoken = log_softmax(logits)[[0, 1], [2, 3]].sum()  # the frame that is added costs nothing
    assert ended(logits)[0].score == pytest.approx(spoken + WIDE.word_score)


def cases(count, seed=0):
    """(text, logits) of sentences of the large text's language."""
    rng = np.random.default_rng(seed)
    lines = [" ".join(line) for line in sentences(count, words(60), seed=9)]
    return [(line, logits_of(line, rng, noise=1.8)) for line in lines]


def test_results_are_flashlights_own(models):
    path = models / "large_words.arpa"
    ours = make(settings({"lm": str(path), "nbest": 3}), VOCABULARY)
    lexicon = models / "lexicon.txt"
    lexicon.write_text("".join(f"{w} {' '.join(w)} |\n" for w in words(60)))
    theirs = flashlights_own(path, lexicon, VOCABULARY)
    for _, logits in cases(20):
        assert [(h.text, h.score) for h in ours(logits)] == theirs(logits)[:3]


def test_a_language_model_lowers_the_errors_and_processes_change_nothing(models):
    known = cases(24)
    rows = [logits for _, logits in known]
    right = {}
    decoder = make(settings({"lm": str(models / "large_words.arpa")}), VOCABULARY)
    for name, one in (("greedy", make(settings({}), VOCABULARY)), ("beam", decoder)):
        texts = [one(row)[0].text for row in rows]
        right[name] = sum(text == line for text, (line, _) in zip(texts, known, strict=True))
    assert right["beam"] > right["greedy"] + 8
    apart = [h[0].text for h in decode_many(decoder, iter(rows), jobs=2)]
    assert apart == texts


def test_words_stand_where_their_letters_are(models):
    path = [5, 5, 6, 0, 4, 0, 0, 7, 5, 4]  # A A B _ | _ _ C A |
    vocabulary = Vocabulary((*SPECIALS, "A", "B", "C"), "upper")
    lexicon = tuple((word, (*word, "|")) for word in ("AB", "CA"))
    logits = 12.0 * np.eye(8, dtype=np.float32)[path]
    (best,) = LexiconDecoder(vocabulary.symbols, None, lexicon, BeamOptions())(logits)
    assert [(w.word, round(w.start, 2), round(w.end, 2)) for w in best.words] == [
        ("AB", 0.0, 0.06),
        ("CA", 0.14, 0.18),
    ]
    assert all(w.confidence > 0.99 for w in best.words) and best.tokens.tolist() == path


def test_hypotheses_fall_in_score_and_differ_in_text(models):
    decoder = make(settings({"lm": str(models / "large_words.arpa"), "nbest": 20}), VOCABULARY)
    for _, logits in cases(3):
        found = decoder(logits)
        assert 5 < len({h.text for h in found}) == len(found) <= 20
        assert all(a.score >= b.score for a, b in itertools.pairwise(found))
        for h in found:
            total = h.acoustic_score + 2 * h.lm_score - len(h.text.split())
            assert h.score == pytest.approx(total, abs=1e-3)


def test_a_hot_word_that_lexicon_and_model_lack_can_be_decoded(models):
    path, logits = str(models / "large_words.arpa"), logits_of("HAHAHA", np.random.default_rng(0))
    assert "HAHAHA" not in words(60)
    without = make(settings({"lm": path}), VOCABULARY)(logits)[0].text
    hot = make(settings({"lm": path, "hot_words": (("hahaha", 12.0),)}), VOCABULARY)
    assert without != "HAHAHA" and hot(logits)[0].text == "HAHAHA"
    assert pickle.loads(pickle.dumps(hot))(logits)[0].text == "HAHAHA"


def test_no_frames_and_only_blanks_give_an_empty_text(models):
    blanks = 9.0 * np.eye(len(VOCABULARY), dtype=np.float32)[[0, 0]]
    for given in ({"kind": "beam"}, {"lm": str(models / "large_words.arpa")}):
        decoder = make(settings(given), VOCABULARY)
        for logits in (blanks, blanks[:0]):
            best = decoder(logits)[0]
            assert (best.text, best.words, len(best.tokens)) == ("", [], len(logits))


@pytest.mark.parametrize("search", ["random", "bayes"])
def test_a_sweep_finds_better_weights_that_decode_takes(search, models, tmp_path, capsys):
    if search == "bayes":
        pytest.importorskip("optuna")
    known = cases(20)
    emissions.write(
        tmp_path / "dev",
        [emissions.Utterance(str(n), logits, text) for n, (text, logits) in enumerate(known)],
        vocabulary=VOCABULARY, num_frames=sum(len(logits) for _, logits in known),
        seconds_per_frame=0.02,
    )  # fmt: skip
    out, arpa = tmp_path / "best.json", str(models / "large_words.arpa")
    common = ["--logits", str(tmp_path / "dev")]
    options = ["--lm", arpa, "--trials", "5", "--search", search, "--out", str(out)]
    sweep.main([*common, *options])
    written = json.loads(out.read_text())
    rates = [rate for _, _, rate in written["trials"]]
    assert len(rates) == 5 and min(rates) == written["dev_wer"] < written["greedy_wer"]
    capsys.readouterr()
    report = tmp_path / "nbest.json"
    command.main([*common, "--decoder-settings", str(out), "--nbest", "2", "--json", str(report)])
    assert json.loads(report.read_text())["wer"] == pytest.approx(written["dev_wer"])
    assert len(json.loads(report.read_text())["utterances"][0]["nbest"]) == 2


def test_transcribe_takes_a_language_model(folder, tmp_path, capsys):
    import soundfile

    from tests.helpers.interop_cases import VOCABULARY as CHECKPOINTS
    from w2v2_jax import transcribe

    letters = [s for s in CHECKPOINTS.symbols if len(s) == 1 and s != "|"][:2]
    (tmp_path / "text").write_text(f"{letters[0]} {letters[1]}\n{letters[1]}\n")
    arpa = tmp_path / "lm.arpa"
    lm.main(["--text", str(tmp_path / "text"), "--out", str(arpa), "--order", "2",
             "--estimator", "own", "--discount-fallback"])  # fmt: skip
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=4000) * 0.1, 16000)
    capsys.readouterr()
    transcribe.main(["--checkpoint", str(folder), str(tmp_path / "a.wav"), "--lm", str(arpa)])
    path, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert path.endswith("a.wav") and set(text.split()) <= set(letters)


def test_models_and_lexicons_that_do_not_fit_are_one_clear_line(models, tmp_path):
    (tmp_path / "broken.arpa").write_text((models / "large_words.arpa").read_text()[:-400])
    (tmp_path / "text.arpa").write_text("hello\n")
    marked = "\ufeff" + (models / "large_words.arpa").read_text()
    (tmp_path / "marked.arpa").write_text(marked, "utf-8")
    (tmp_path / "lower.txt").write_text("abc\tA B C |\n")
    lower = Vocabulary((*SPECIALS, *"abcdefgh"), "lower")
    arpa, letters = str(models / "large_words.arpa"), str(models / "large_letters.arpa")
    wrong_case = {"lm": arpa, "lexicon": str(tmp_path / "lower.txt")}
    for given, vocabulary, message in (
        ({"lm": str(tmp_path / "none.arpa")}, VOCABULARY, "none.arpa: no such file"),
        ({"lm": str(tmp_path)}, VOCABULARY, "is a folder, not a file"),
        ({"lm": str(tmp_path / "text.arpa")}, VOCABULARY, "text.arpa: not an ARPA language model"),
        (
            {"lm": str(tmp_path / "marked.arpa")},
            VOCABULARY,
            "marked.arpa: begins with a byte order",
        ),
        ({"lm": str(tmp_path / "broken.arpa")}, VOCABULARY, "broken.arpa: KenLM cannot read"),
        ({"lm": arpa}, lower, "consists of the model's symbols; is it in another case"),
        (wrong_case, VOCABULARY, "has none of the lexicon's 1 words"),
        ({"lm": letters, "hot_words": (("AB", 1.0),)}, VOCABULARY, "--hot-word needs --lexicon"),
        (
            {"lm": arpa, "hot_words": (("XYZ", 1.0),)},
            VOCABULARY,
            "'XYZ' has symbols that the model lacks",
        ),
    ):
        with pytest.raises(InputError, match=message):
            make(settings(given), vocabulary)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz", "model"])
@pytest.mark.parametrize("kind", [[], ["--characters"], ["--prune", "1"]])
def test_whatever_lm_makes_decode_reads(tmp_path, order, name, kind):
    lines = [" ".join(line) for line in sentences(60, ["A", "B", "AB", "BA"], seed=2)]
    (tmp_path / "text").write_text("".join(f"{line} A B A B A\n" for line in lines))
    made = tmp_path / name.removesuffix(".gz")
    options = ["--order", str(order), "--estimator", "own", "--discount-fallback", *kind]
    lm.main(["--text", str(tmp_path / "text"), "--out", str(made), *options])
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(made.read_bytes()))
    found = make(settings({"lm": str(tmp_path / name)}), VOCABULARY)
    assert found(logits_of("AB BA", np.random.default_rng(0), noise=0.1))[0].text == "AB BA"


@pytest.mark.parametrize("probability", ["nan", "inf"])
def test_a_word_whose_probability_is_no_number_is_one_clear_line(models, tmp_path, probability):
    lines = (models / "large_words.arpa").read_text().split("\n")
    place = lines.index("\\1-grams:") + 5
    first, *rest = lines[place].split("\t")
    lines[place] = "\t".join([probability, *rest])
    (tmp_path / "odd.arpa").write_text("\n".join(lines))
    assert float(first) < 0 and rest[0] not in SPECIALS
    with pytest.raises(InputError, match=r"odd\.arpa: (the log probability|KenLM cannot read)"):
        make(settings({"lm": str(tmp_path / "odd.arpa")}), VOCABULARY)


def test_one_broken_frame_of_saved_logits_is_one_clear_line(tmp_path, capsys):
    logits = cases(1)[0][1]
    utterance = emissions.Utterance("talk 7", logits, None)
    emissions.write(
        tmp_path / "x", [utterance], vocabulary=VOCABULARY, num_frames=len(logits),
        seconds_per_frame=0.02,
    )  # fmt: skip
    held = np.load(tmp_path / "x" / emissions.LOGITS, mmap_mode="r+")
    held[2] = np.nan
    held.flush()
    arguments = ["--logits", str(tmp_path / "x"), "--decoder", "beam"]
    for jobs in ("1", "2"):
        assert run_command(command.main, [*arguments, "--jobs", jobs]) == 2
        assert "utterance talk 7: the logits of 1 of" in capsys.readouterr().err
