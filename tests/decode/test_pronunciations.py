"""Texts of words, written by phonemes: the lexicon, references, searches and alignment."""

import dataclasses
import json

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from tests.helpers.interop_cases import random_checkpoint
from tests.helpers.symbol_cases import saved_logits, saying
from w2v2_jax import lm, sweep
from w2v2_jax.data.transcribed import check_vocabulary
from w2v2_jax.decode import command
from w2v2_jax.decode.lexicon import read_lexicon
from w2v2_jax.decode.lines import align_lines
from w2v2_jax.decode.make import DecoderSettings, make
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.interop import hugging_face
from w2v2_jax.prepare import pseudo
from w2v2_jax.texts.choice import english, unicode
from w2v2_jax.vocabulary import (
    SPECIALS,
    Vocabulary,
    extend_vocabulary,
    load_vocabulary,
    make_vocabulary,
    pronunciations,
)

LEXICON = """;;; the form of CMUdict
the  DH AH
the(2)  DH IY
cat  K AE T
read  R IY D # the present
read(2)  R EH D
red\tR EH D
k  K EY
"""
PHONEMES = ("AE", "AH", "D", "DH", "EH", "EY", "IY", "K", "R", "T")
SENTENCE = "the cat read the red"
SAID = "DH AH K AE T R IY D DH AH R EH D"


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text(LEXICON)
    return path


@pytest.fixture
def vocabulary(lexicon):
    return make_vocabulary(f"pronunciations:{lexicon}")


@pytest.fixture
def words_model(tmp_path):
    """A 2-gram of words in which `read` and `red` follow different words."""
    (tmp_path / "text.txt").write_text(f"{SENTENCE}\nread the red cat\nthe read red cat\n" * 2)
    out = tmp_path / "words.arpa"
    options = ["--text", str(tmp_path / "text.txt"), "--order", "2", "--discount-fallback"]
    assert run_command(lm.main, [*options, "--estimator", "own", "--out", str(out)]) == 0
    return str(out)


def settings(**values):
    return DecoderSettings(kind="beam", engine="numpy", **values)


def test_the_symbols_are_the_lexicons_phonemes_and_texts_are_words(vocabulary):
    assert vocabulary.symbols == (*SPECIALS, *PHONEMES)
    ids = vocabulary.encode(SENTENCE)
    assert vocabulary.decode(ids) == SAID == vocabulary.reference(SENTENCE, words=False)
    assert vocabulary.normalise(SENTENCE) == SENTENCE == vocabulary.reference(SENTENCE)
    assert vocabulary.encode("The CAT").tolist() == vocabulary.encode("the cat").tolist()


def test_a_word_without_a_pronunciation_is_unknown_even_where_a_phoneme_is_written_so(vocabulary):
    assert vocabulary.encode("T cat dog").tolist()[0::4] == [3, 3]
    assert vocabulary.unknown(["T cat dog", "dog"]) == {"dog": 2, "T": 1}
    assert vocabulary.reference("dog cat", words=False) == "<unk> K AE T"
    assert not vocabulary.has_words("T dog") and vocabulary.has_words("dog cat")
    # but the word k is one
    assert vocabulary.reference("k", words=False) == "K EY"


def test_it_is_stored_with_its_lexicon(vocabulary, lexicon, tmp_path):
    vocabulary.save(tmp_path / "vocabulary.json")
    lexicon.unlink()
    loaded = load_vocabulary(tmp_path / "vocabulary.json")
    assert loaded == vocabulary and loaded.encode("red").tolist() == [13, 9, 7]
    stored = json.loads((tmp_path / "vocabulary.json").read_text())
    assert stored["pronunciations"]["read"] == ["R IY D", "R EH D"]
    for damaged in ("words", {"a": "A"}, {"a": [1]}):
        (tmp_path / "bad.json").write_text(json.dumps(stored | {"pronunciations": damaged}))
        with pytest.raises(InputError, match=r"bad\.json: not a vocabulary: its pronunciations"):
            load_vocabulary(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a AH\n\n<unk> <unk>\n", "line 3: <unk> is a symbol of every vocabulary and no phoneme"),
        ("a AH\nb <pad>\n", "no phoneme; remove the line of 'b', or write another symbol"),
        ("| |\na AH\n", "line 1: | is a symbol of every vocabulary"),
        ("a AH\n\nb\n", "line 3: 'b' has no pronunciation; write lines word<TAB>p h o n e m e s"),
        ("a 0.8 AH\n", "line 1: 0.8 is a probability; leave that column out"),
        (";;; nothing\n", "an empty lexicon"),
        ("a AH |\n", "line 1: | is a symbol of every vocabulary and no phoneme"),
        ("a AH <s>\n", "line 1: <s> is a symbol of every vocabulary"),
        ("a 1e-05 AH\n", "line 1: 1e-05 is a probability; leave that column out"),
        ("b B\na 1 AH\nc 0.5 AH\n", "line 3: 0.5 is a probability; leave that column out"),
        (";;; all\na 1 AH\nb 1 B\n", "line 2: 1 is a probability; leave that column out"),
        ("a AH #1\n", "line 1: #1 begins like a comment, or like Kaldi's marks"),
        ("new york\tN UW\n", "line 1: 'new york' is more than one word; write lines"),
        ("a [AH B]\n", "line 1: 'a' has its pronunciation in brackets; leave them out"),
        ("a [A] 0.5 AH\n", "line 1: 0.5 is a probability; leave that column out"),
        ("a [A] # AH\n", "line 1: 'a' has no pronunciation"),
    ],
)
def test_what_is_no_lexicon_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(InputError, match=r"x\.txt") as caught:
        make_vocabulary(f"pronunciations:{tmp_path}/x.txt")
    assert message in str(caught.value)


def test_transcripts_of_phonemes_may_have_an_unknown_one():
    """They were refused, without a word on where it is."""
    vocabulary = make_vocabulary("phonemes", ["sh iy <unk>", "iy"])
    assert vocabulary.symbols[5:] == ("iy", "sh")
    assert vocabulary.encode("iy <unk>").tolist() == [5, 3]


def test_a_vocabulary_of_two_million_pronunciations_can_be_read_again(
    vocabulary, lexicon, tmp_path, monkeypatch
):
    """It was written by the training, and `lm --vocabulary` then refused its size."""
    saved = tmp_path / "vocabulary.json"
    vocabulary.save(saved)
    saved.write_text(saved.read_text() + " " * (65 << 20))
    assert load_vocabulary(saved) == vocabulary
    monkeypatch.setattr(pronunciations, "MOST_BYTES", 10)
    with pytest.raises(InputError, match=r"lexicon\.txt: 0 MiB, more than the 0 of a lexicon; lea"):
        make_vocabulary(f"pronunciations:{lexicon}")


UNSPACED = "a\tə\nhello\thəloʊ\nworld(2)\twərld\nworld\tw ər l d\nthe\tðə\n"


def test_pronunciations_without_spaces_are_refused_with_an_example(tmp_path):
    """Each word would have become a symbol of its own."""
    (tmp_path / "x.txt").write_text(UNSPACED, "utf-8")
    with pytest.raises(InputError, match=r"x\.txt, line 2: 'hello' has one phoneme") as got:
        make_vocabulary(f"pronunciations:{tmp_path}/x.txt")
    told = str(got.value)
    assert "(2 of 3 words of 3 or more letters); write spaces between phonemes" in told
    assert "'həloʊ'" in told and "\n" not in told


@pytest.mark.parametrize(
    "text",
    [
        "我 wo3\n们 men5\n中国 zhongguo2\n图书馆 tu2 shu1 guan3\n",  # characters by syllables
        "cat kat\nca·ta·logue kat a log\nalways ol weiz\n",  # syllables
        "eye AY1\nair EH1 R\neau o\nyou j\u0361u\n",
        "one 1\ntwo 2\n",
        "the DH AH\n<noise> [noise]\n!SIL SIL\ncat K AE T\nred R EH D\n",
    ],
)
def test_short_words_and_symbols_syllables_and_noises_are_no_unspaced_phonemes(tmp_path, text):
    (tmp_path / "x.txt").write_text(text, "utf-8")
    assert make_vocabulary(f"pronunciations:{tmp_path}/x.txt").pronunciations


@pytest.mark.parametrize("line", ["READ {} r iy d", "READ\t{}\tr iy d", "READ {}\tr iy d"])
@pytest.mark.parametrize("printed", ["[READ]", "[]", "[to read]"])
def test_what_htk_prints_for_a_word_is_no_phoneme(tmp_path, line, printed):
    """VoxForge's lexicons have it for every word."""
    path = tmp_path / "x.txt"
    path.write_text(f"{line.format(printed)}\nRED r [eh] d\n")
    said = make_vocabulary(f"pronunciations:{path}").pronunciations
    assert said == (("READ", "r iy d"), ("RED", "r [eh] d"))
    symbols = ("r", "iy", "d", "[eh]")
    assert read_lexicon(path, symbols, units="phonemes")[0] == ("READ", ("r", "iy", "d"))


def test_a_line_that_begins_with_a_hash_is_a_comment_with_and_without_a_space(tmp_path):
    (tmp_path / "x.txt").write_text("#words of the house\n## CMUdict\n  # more\na AH #\n")
    vocabulary = make_vocabulary(f"pronunciations:{tmp_path}/x.txt")
    assert vocabulary.pronunciations == (("a", "AH"),)


def test_a_phoneme_1_is_no_probability_where_other_words_begin_otherwise(tmp_path):
    (tmp_path / "x.txt").write_text("is 1 s\nsi s 1\n")
    assert make_vocabulary(f"pronunciations:{tmp_path}/x.txt").symbols[5:] == ("1", "s")


def test_pronunciations_that_are_apart_in_the_lexicon_are_stored_and_loaded_alike(tmp_path):
    (tmp_path / "x.txt").write_text("read R IY D\nred R EH D\nread R EH D\n")
    vocabulary = make_vocabulary(f"pronunciations:{tmp_path}/x.txt")
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_words_in_another_case_follow_the_language(tmp_path):
    (tmp_path / "x.txt").write_text("ILIK 1 l 1 k\nİYİ i j i\nKAR k a r\n")
    name = f"pronunciations:{tmp_path}/x.txt"
    for turkish in (
        make_vocabulary(name, case="lower:tr"),
        make_vocabulary(name, rules=unicode("tr")),
    ):
        assert turkish.reference("\u0131l\u0131k iyi KAR", words=False) == "1 l 1 k i j i k a r"
        assert turkish.unknown(["ilik"]) == {"ilik": 1}  # is another word


def test_the_words_of_the_lexicon_are_found_as_the_rules_write_them(tmp_path):
    (tmp_path / "x.txt").write_text("don\u2019t D OW N T\nCafé K AE F\nit's IH T S\nx-ray EH K\n")
    vocabulary = make_vocabulary(f"pronunciations:{tmp_path}/x.txt", rules=english())
    assert vocabulary.reference("Don\u2019t it's café", words=False) == "D OW N T IH T S K AE F"
    assert vocabulary.spellings("cafe") == [["K", "AE", "F"]]
    assert vocabulary.unknown(["an x-ray"]) == {"an": 1, "ray": 1, "x": 1}


def test_a_lexicon_without_a_name_or_that_is_not_there_is_told():
    with pytest.raises(InputError, match="'pronunciations:' names no file"):
        make_vocabulary("pronunciations:")
    with pytest.raises(InputError, match=r"nowhere/x\.txt: "):
        make_vocabulary("pronunciations:nowhere/x.txt")


def test_only_phonemes_have_pronunciations_and_only_a_lexicon_extends_them(vocabulary):
    with pytest.raises(InputError, match="pronunciations are of phonemes, not of characters"):
        Vocabulary((*SPECIALS, "a"), "keep", pronunciations=(("a", "a"),))
    with pytest.raises(InputError, match="extended by a larger lexicon"):
        extend_vocabulary(vocabulary, ["dog"], min_count=1)


def test_greedy_decoding_writes_phonemes_and_a_search_words(vocabulary, words_model):
    logits = saying(vocabulary.encode(SENTENCE), len(vocabulary))
    greedy = make(DecoderSettings(), vocabulary)
    assert greedy(logits)[0].text == SAID and not greedy.writes_words
    search = make(settings(lm=words_model), vocabulary)
    best = search(logits)[0]
    assert best.text == SENTENCE and search.writes_words
    assert [w.start for w in best.words] == pytest.approx([0, 0.12, 0.3, 0.48, 0.6])


def test_every_pronunciation_is_searched(vocabulary, words_model):
    said = ["DH", "IY", "K", "AE", "T", "R", "EH", "D", "DH", "AH", "R", "EH", "D"]
    logits = saying([vocabulary.symbols.index(p) for p in said], len(vocabulary))
    best = make(settings(lm=words_model), vocabulary)(logits)[0]
    assert best.text == SENTENCE  # "red" and "read" sound alike here; the model decides


def test_a_search_takes_the_lexicon_that_was_trained_with(vocabulary, lexicon, words_model):
    """`read(2)` was a word of the hypotheses, and a comment an error."""
    said = ["DH", "IY", "R", "EH", "D"]
    logits = saying([vocabulary.symbols.index(p) for p in said], len(vocabulary))
    search = make(settings(lexicon=str(lexicon), lm=words_model), vocabulary)
    assert {word for word, _ in search.lexicon} == {"the", "cat", "read", "red", "k"}
    assert search(logits)[0].text in ("the read", "the red")
    phonemes = dataclasses.replace(vocabulary, pronunciations=())
    assert make(settings(lexicon=str(lexicon)), phonemes)(logits)[0].text in ("the read", "the red")


def test_a_hash_that_is_a_phoneme_is_no_comment_of_a_searchs_lexicon(tmp_path):
    (tmp_path / "x.txt").write_text("a A #\n")
    symbols = ("A", "#")
    assert read_lexicon(tmp_path / "x.txt", symbols, units="phonemes") == [("a", symbols)]


@pytest.fixture
def upper_model(words_model, tmp_path):
    upper = tmp_path / "upper.arpa"
    with open(words_model, encoding="utf-8") as file:
        lines = [line.upper() if "\t" in line else line for line in file]
    upper.write_text("".join(lines).replace("<S>", "<s>").replace("</S>", "</s>"), "utf-8")
    return str(upper)


def test_a_model_of_words_in_another_case_is_found(vocabulary, upper_model):
    logits = saying(vocabulary.encode(SENTENCE), len(vocabulary))
    assert make(settings(lm=upper_model), vocabulary)(logits)[0].text == SENTENCE.upper()


def test_a_hot_word_in_another_case_is_the_models_word(vocabulary, upper_model):
    logits = saying(vocabulary.encode(SENTENCE), len(vocabulary))
    hot = make(settings(lm=upper_model, hot_words=(("cat", 3.0),)), vocabulary)
    assert hot(logits)[0].text == SENTENCE.upper()


def test_words_in_another_case_are_scored_in_the_vocabularys(
    vocabulary, upper_model, tmp_path, capsys
):
    lower = dataclasses.replace(vocabulary, case="lower")
    logits = saved_logits(tmp_path / "logits", lower, SENTENCE, SENTENCE)
    assert run_command(command.main, [*logits, "--lm", upper_model, "--engine", "numpy"]) == 0
    told = capsys.readouterr()
    assert "WER 0.00 %" in told.out and "another case" not in told.err


def test_a_model_of_words_in_another_case_than_the_references_is_told(
    vocabulary, upper_model, tmp_path, capsys
):
    logits = saved_logits(tmp_path / "logits", vocabulary, SENTENCE, SENTENCE)
    search = [*logits, "--lm", upper_model, "--engine", "numpy"]
    assert run_command(command.main, search) == 0
    told = "warning: 5 of 5 words of the references, such as 'the', are in another case in --lm"
    assert told in capsys.readouterr().err
    assert run_command(sweep.main, [*search, "--trials", "1", "--out", f"{tmp_path}/a.json"]) == 0
    assert told in capsys.readouterr().err


def test_the_case_is_told_where_the_model_lacks_most_words_too(
    vocabulary, upper_model, tmp_path, capsys
):
    text = "a dog read the dog of the dogs"
    logits = saved_logits(tmp_path / "logits", vocabulary, SENTENCE, text)
    assert run_command(command.main, [*logits, "--lm", upper_model, "--engine", "numpy"]) == 0
    assert "warning: 3 of 8 words of the references, such as 'read'," in capsys.readouterr().err


def test_a_reference_of_words_without_pronunciations_counts_where_words_are_scored(
    vocabulary, words_model, tmp_path, capsys
):
    logits = saved_logits(tmp_path / "logits", vocabulary, SENTENCE, SENTENCE, "dogs bark now")
    assert run_command(command.main, logits) == 0
    assert "(1 utterance; 1 without a reference left out)" in capsys.readouterr().out
    search = ["--lm", words_model, "--engine", "numpy"]
    assert run_command(command.main, [*logits, *search]) == 0
    told = capsys.readouterr().out
    assert "WER 62.50 %" in told and "(2 utterances)" in told


def test_lm_writes_a_lexicon_of_all_pronunciations(vocabulary, tmp_path, capsys):
    vocabulary.save(tmp_path / "vocabulary.json")
    (tmp_path / "text.txt").write_text("the cat\nthe dog\n")
    options = ["--text", "text.txt", "--out", "a.arpa", "--lexicon", "words.txt"]
    paths = [str(tmp_path / o) if "." in o else o for o in options]
    more = ["--vocabulary", str(tmp_path / "vocabulary.json"), "--discount-fallback"]
    assert run_command(lm.main, [*paths, *more, "--order", "1"]) == 0
    written = (tmp_path / "words.txt").read_text().splitlines()
    assert written == ["the\tDH AH", "the\tDH IY", "cat\tK AE T"]
    assert "1 of 3 different words has no pronunciation in" in capsys.readouterr().out


def test_a_model_of_phonemes_holds_a_word_without_a_pronunciation_as_one_unit(vocabulary, tmp_path):
    """It was written with a space, which parts the units of a file's lines."""
    vocabulary.save(tmp_path / "vocabulary.json")
    (tmp_path / "text.txt").write_text("the dog\nthe k\n")
    options = ["--text", f"{tmp_path}/text.txt", "--out", f"{tmp_path}/a.arpa", "--characters"]
    more = ["--vocabulary", str(tmp_path / "vocabulary.json"), "--order", "2", "--estimator", "own"]
    assert run_command(lm.main, [*options, *more, "--discount-fallback"]) == 0
    lines = (tmp_path / "a.arpa").read_text().splitlines()
    grams = [line.split("\t")[1].split(" ") for line in lines if "\t" in line]
    assert {unit for units in grams for unit in units} == {
        "<s>", "</s>", "<unk>", "DH", "AH", "<unk>dog", "K", "EY",
    }  # fmt: skip
    assert {len(units) for units in grams} == {1, 2}


def test_decode_scores_words_or_phonemes(vocabulary, words_model, tmp_path, capsys):
    logits = saved_logits(tmp_path / "logits", vocabulary, SENTENCE, SENTENCE)
    out = tmp_path / "out.json"
    arguments = [*logits, "--json", str(out)]
    assert run_command(command.main, arguments) == 0
    assert capsys.readouterr().out.startswith("PER 0.00 %")
    written = json.loads(out.read_text())
    assert written["per"] == 0 and written["utterances"][0]["reference"] == SAID
    search = [*arguments, "--lm", words_model, "--engine", "numpy"]
    assert run_command(command.main, search) == 0
    assert json.loads(out.read_text())["wer"] == 0
    (row,) = json.loads(out.read_text())["utterances"]
    assert row["nbest"][0]["text"] == SENTENCE == row["reference"]


def test_a_model_of_phonemes_alone_has_a_rate_of_phonemes_too(tmp_path, capsys):
    phonemes = make_vocabulary("phonemes", [SAID])
    logits = saved_logits(tmp_path / "logits", phonemes, SAID, SAID)
    out = tmp_path / "out.json"
    assert run_command(command.main, [*logits, "--json", str(out)]) == 0
    assert (told := capsys.readouterr().out).startswith("PER 0.00 %") and "WER" not in told
    assert json.loads(out.read_text())["per"] == 0


def test_sweep_calls_what_greedy_decoding_writes_phonemes(
    vocabulary, words_model, tmp_path, capsys
):
    logits = saved_logits(tmp_path / "logits", vocabulary, SENTENCE, SENTENCE)
    arguments = [*logits, "--lm", words_model, "--engine", "numpy"]
    out = tmp_path / "best.json"
    assert run_command(sweep.main, [*arguments, "--trials", "2", "--out", str(out)]) == 0
    assert "greedy: PER 0.00 % of 13 phonemes" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["greedy_per"] == 0 == written["dev_wer"] and "greedy_wer" not in written


def test_sweep_calls_what_a_model_of_phonemes_writes_phonemes(vocabulary, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(f"{SAID}\n" * 3)
    options = ["--text", f"{tmp_path}/text.txt", "--order", "2", "--discount-fallback"]
    out = ["--estimator", "own", "--out", f"{tmp_path}/phones.arpa"]
    assert run_command(lm.main, [*options, *out]) == 0
    capsys.readouterr()
    logits = saved_logits(tmp_path / "logits", vocabulary, SENTENCE, SENTENCE)
    arguments = [*logits, "--lm", f"{tmp_path}/phones.arpa", "--engine", "numpy", "--trials", "1"]
    assert run_command(sweep.main, [*arguments, "--out", f"{tmp_path}/new/best.json"]) == 0
    told = capsys.readouterr().out
    assert ": PER 0.00 % (best of 1)" in told and "WER" not in told
    written = json.loads((tmp_path / "new" / "best.json").read_text())
    assert written["dev_per"] == 0 and "dev_wer" not in written


def test_aligned_lines_have_the_times_of_words(vocabulary):
    ids = vocabulary.encode("the cat")
    (line,) = align_lines(
        saying(ids, len(vocabulary)), ["the cat"], vocabulary, seconds_per_frame=0.02, where="x"
    )
    assert [w.word for w in line.words] == ["the", "cat"]
    assert [w.start for w in line.words] == pytest.approx([0, 0.12])


def test_a_word_without_a_pronunciation_is_aligned_as_a_star(vocabulary):
    ids = vocabulary.encode("the read cat")
    (line,) = align_lines(
        saying(ids, len(vocabulary)), ["the dog cat"], vocabulary,
        seconds_per_frame=0.02, where="x",
    )  # fmt: skip
    assert [w.word for w in line.words] == ["the", "dog", "cat"]
    assert line.words[2].start == pytest.approx(0.3)


def test_a_text_of_words_without_pronunciations_is_told_as_such(vocabulary):
    logits = saying(vocabulary.encode(SENTENCE), len(vocabulary))
    told = r"text\.txt: words without a pronunciation, most of the text: 'bark' .*'dogs' .* line 1"
    with pytest.raises(InputError, match=told):
        align_lines(logits, ["dogs bark"], vocabulary, seconds_per_frame=0.02, where="text.txt")


def test_hugging_faces_folder_keeps_them_and_pseudo_labels_have_to_be_words(
    vocabulary, tiny, tmp_path, capsys
):
    checkpoint = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=vocabulary)
    hugging_face.save(checkpoint, tmp_path / "hf")
    assert hugging_face.load(tmp_path / "hf").description.vocabulary == vocabulary
    write_split(tmp_path, "train", texts=("", ""), seconds=0.4)
    options = ["--checkpoint", str(tmp_path / "hf"), "--data", f"{tmp_path}:train"]
    options += ["--out", str(tmp_path / "out"), "--min-confidence", "0.5", "--min-seconds", "0.1"]
    assert run_command(pseudo.main, options) == 2
    assert "writes phonemes, and its texts are words; give --lm" in capsys.readouterr().err


def test_rules_are_applied_to_words_and_not_to_phonemes(lexicon):
    vocabulary = make_vocabulary(f"pronunciations:{lexicon}", rules=unicode())
    assert vocabulary.reference("The cat!", words=False) == "DH AH K AE T"
    assert vocabulary.as_scored("DH AH", words=False) == "DH AH"


def test_a_corpus_of_mostly_other_words_is_refused_beside_others(vocabulary):
    class Corpus:
        def texts(self):
            return iter(["the dog runs", "fast dogs"])

    with pytest.raises(InputError, match=r"4 of its 5 words have no pronunciation: dog dogs"):
        check_vocabulary(Corpus(), vocabulary, several=True, where="b:train")


def test_a_corpus_of_mostly_other_phonemes_is_refused_beside_others():
    class Corpus:
        def texts(self):
            return iter(["AA1 BB1 CC1 DD1", "DH AH IY"])

    vocabulary = make_vocabulary("phonemes", ["DH AH IY"])
    remedy = r"DD1; use config\.vocabulary\.name=phonemes"
    with pytest.raises(InputError, match=rf"4 of its 7 phonemes are not in the vocab.*{remedy}"):
        check_vocabulary(Corpus(), vocabulary, several=True, where="b:train")


def test_equal_vocabularies_differ_by_their_lexicon(vocabulary):
    other = dataclasses.replace(vocabulary, pronunciations=vocabulary.pronunciations[:-1])
    assert other != vocabulary and np.array_equal(other.encode("cat"), vocabulary.encode("cat"))
